"""The chat template of a model directory: messages as the text that its model was trained to continue.

Promises that a template reaches nothing but what it is given: jinja2's immutable sandbox. Next: `chat_tokenizer`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from tidegate.schemas import TidegateError

TemplateMessage = Mapping[str, str]
"""`role` (system, user or assistant) and `content`."""

PLAIN = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}\n\n{% endfor %}"
"""For a directory without a template: the texts one below the other, as a base model reads them."""


class ChatTemplateError(TidegateError, ValueError):
    """The chat template of a model directory cannot be used, for the reason in the message."""

    hint = "correct `chat_template` in tokenizer_config.json, or chat_template.jinja, of the model's directory"


class ChatTemplate:
    """Renders messages. Safe to use from several threads at once."""

    def __init__(self, source: str | None, special: Mapping[str, str]) -> None:
        """`special` are the names that templates use (`bos_token`, …). Raises `ChatTemplateError`."""
        from jinja2 import TemplateError  # 2 MB, for those who run a model that has a template
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = partial(json.dumps, ensure_ascii=False)
        environment.globals |= {"raise_exception": _refuse, "strftime_now": _format_now}
        self._special = {"bos_token": "", "eos_token": "", **special}
        try:
            self._template = environment.from_string(PLAIN if source is None else source)
        except TemplateError as error:
            raise ChatTemplateError(f"the chat template is no template: {error}") from error

    def render(self, messages: Sequence[TemplateMessage], *, is_open: bool = True) -> str:
        """The messages as text; `is_open`: an answer of the assistant comes next.

        A system message that the template refuses goes before the first message of the user. Raises
        `ChatTemplateError`.
        """
        try:
            return self._render(messages, is_open)
        except ChatTemplateError:
            merged = _merge_system(messages)
            if merged == list(messages):
                raise
            return self._render(merged, is_open)

    def _render(self, messages: Sequence[TemplateMessage], is_open: bool) -> str:
        given = [dict(message) for message in messages]
        options: dict[str, Any] = {"tools": None, "documents": None, "enable_thinking": False}
        try:
            return self._template.render(messages=given, add_generation_prompt=is_open, **options, **self._special)
        except Exception as error:  # a template can raise whatever its expressions raise
            raise ChatTemplateError(f"the chat template does not take these messages: {error}") from error


def _merge_system(messages: Sequence[TemplateMessage]) -> list[TemplateMessage]:
    """The system's words at the head of the first message of the user."""
    if len(messages) < 2 or messages[0]["role"] != "system":
        return list(messages)
    system, first, *rest = messages
    return [{**first, "content": f"{system['content']}\n\n{first['content']}"}, *rest]


def _refuse(reason: str) -> str:
    from jinja2 import TemplateError

    raise TemplateError(reason)


def _format_now(pattern: str) -> str:
    return datetime.now(UTC).strftime(pattern)
