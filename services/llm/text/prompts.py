"""The two prompts that the pair of models was trained on, cut to a budget of tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tidegate.services.llm.text.tokenizer import TokenText

QUESTION_MOST = 128
"""Tokens of a question that are read."""
SPACE = re.compile("( )")
_TYPES = ("string", "integer", "number", "boolean")


class AnswerPrompt(msgspec.Struct, frozen=True):
    """`ids` to generate from; `passages` is how many of the passages it holds, in order, the last perhaps cut."""

    ids: tuple[int, ...]
    passages: int


def answer_prompt(tokens: TokenText, question: str, passages: Sequence[str], budget: int = 640) -> AnswerPrompt:
    """`<|bos|><|question|>Q<|passage|>[1] P1<|passage|>[2] P2…<|answer|>` in at most `budget` tokens.

    Passages beyond the ninth are left out: they have no mark. Those that do not fit are left out from the end; the last
    that does not fit whole is cut where more than 16 tokens of it fit. Raises `ValueError` for a budget under 160.
    """
    if budget < QUESTION_MOST + 32:
        raise ValueError(f"budget must be at least {QUESTION_MOST + 32} tokens, not {budget}")
    ids = [tokens.BEGIN, tokens.QUESTION, *tokens.encode(question)[:QUESTION_MOST]]
    held = 0
    for mark, passage in enumerate(passages[: tokens.MOST_PASSAGES], tokens.FIRST_MARK):
        text = tokens.encode(" " + passage)
        room = budget - len(ids) - 3
        if room < min(len(text), 16):
            break
        ids += [tokens.PASSAGE, mark, *text[:room]]
        held += 1
    return AnswerPrompt((*ids, tokens.ANSWER), held)


def json_prompt(tokens: TokenText, fields: str, text: str, budget: int = 512) -> tuple[int, ...]:
    """`<|bos|><|schema|>name:type name:type<|text|>TEXT<|json|>`; the text is cut at the end to fit `budget` tokens.

    Each space is a token of its own: a word has the same ids in the text as behind the `"` of the object.
    """
    head = [tokens.BEGIN, tokens.SCHEMA, *encode_words(tokens, fields), tokens.TEXT]
    return (*head, *encode_words(tokens, text)[: max(0, budget - len(head) - 1)], tokens.JSON)


def encode_words(tokens: TokenText, text: str) -> list[int]:
    """The ids of a text, each space a token of its own."""
    return [token for part in SPACE.split(text) if part for token in tokens.encode(part)]


def describe_fields(properties: Mapping[str, Mapping[str, Any]]) -> str:
    """The flat properties of a JSON schema as the prompt names them: `name:string total:number? kind:enum(a|b)`."""
    return " ".join(f"{name}:{_type(part)}" for name, part in properties.items())


def _type(part: Mapping[str, Any]) -> str:
    named = part.get("type", "string")
    listed = named if isinstance(named, list) else [named]
    options = [part["const"]] if "const" in part else part.get("enum")
    nullable = "?" if "null" in listed or (options and None in options) else ""
    if options:
        return f"enum({'|'.join(_spelled(each) for each in options if each is not None)}){nullable}"
    if part.get("format") == "date":
        return f"date{nullable}"
    return next((each for each in listed if each in _TYPES), "string") + nullable


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
