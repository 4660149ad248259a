"""What becomes of each parameter of OpenAI's chat completions: honoured, without effect here, or refused by name.

Nothing whose effect a client would miss is passed over. Source:
https://platform.openai.com/docs/api-reference/chat/create; next: openai.py, which reads the rest."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tidegate.schemas.refusals import refusal
from tidegate.services.gateway.refusals import RequestRefusedError

WITHOUT_EFFECT: dict[str, str] = {
    "temperature": "an answer quotes the site's documents: any sampling would have to give the same text",
    "top_p": "as temperature",
    "seed": "the same question of the same asker has the same answer already",
    "metadata": "it labels what OpenAI stores, and nothing is stored there",
    "parallel_tool_calls": "no tool is called, so none is called in parallel",
    "prompt_cache_key": "it may make OpenAI's cache faster, and changes no answer",
    "prompt_cache_retention": "as prompt_cache_key",
    "safety_identifier": "it names the user to OpenAI's own abuse detection",
}
"""Accepted where well-formed, with the reason why no client can tell the difference."""

REFUSED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "n": ("more than one choice", (1,)),
    "logprobs": ("the probability of tokens", (False,)),
    "top_logprobs": ("the probability of tokens", (0,)),
    "logit_bias": ("a bias on tokens", ({},)),
    "presence_penalty": ("a penalty on tokens", (0,)),
    "frequency_penalty": ("a penalty on tokens", (0,)),
    "functions": ("calling functions", ([],)),
    "function_call": ("calling functions", ("none", "auto")),
    "modalities": ("anything but text", (["text"],)),
    "audio": ("audio", ()),
    "prediction": ("a predicted output", ()),
    "store": ("storing completions for later retrieval", (False,)),
    "service_tier": ("a service tier", ("auto", "default")),
    "reasoning_effort": ("a reasoning effort", ("none", "minimal")),
    "verbosity": ("a verbosity", ("medium",)),
    "web_search_options": ("searching the web", ()),
}
"""Refused, with what it asks for; but for null and these values, which ask for what happens anyway."""


def check_parameters(body: dict[str, Any], read: Collection[str]) -> None:
    """Raises `RequestRefusedError`, with the parameter's name, for the first that asks for what is not done here.

    `read`: the parameters that a `ChatRequest` has; those with an effect are honoured.
    """
    for name, value in body.items():
        if name in read or value is None:
            continue
        if name not in REFUSED:
            shown = name[:64]
            raise unsupported(f"the parameter `{shown}`", f"leave `{shown}` out", shown)
        what, neutral = REFUSED[name]
        if not any(_is_same(value, each) for each in neutral):
            raise unsupported(what, f"leave `{name}` out", name)


def unsupported(what: str, hint: str, param: str) -> RequestRefusedError:
    """The refusal of something that OpenAI's API has and a site has not."""
    return RequestRefusedError(refusal("unsupported", what=what, hint=hint), param)


def _is_same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
