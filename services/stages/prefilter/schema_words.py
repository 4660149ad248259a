"""The words in a JSON schema that whoever asks has written: what is personal in them goes further as vault tokens.

Promises that every other part of the schema stays as it is. An option comes back with the answer as it was sent, so
that the answer fits the schema of whoever asks. Pure but for the detector that is passed in. Next: handler.py."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from tidegate.services.stages.prefilter.screened_text import PersonalData
from tidegate.services.stages.prefilter.turns import FindInJoined, PersonalPiece

WORDS = frozenset(("enum", "const", "default", "examples", "title", "description", "$comment"))
"""The keywords whose strings are values or prose; a name among those of fields would change what is asked for."""
MAPS = frozenset(("properties", "$defs", "definitions", "patternProperties", "dependentSchemas"))
"""The keywords whose keys are names and no keywords."""
BETWEEN = "\n\n;\n\n"
"""No rule for names reads over it; what is found over it all the same is looked for again in each text alone."""
Redact = Callable[[str, Sequence[PersonalData]], Awaitable[str]]
"""A text with vault tokens in place of what was found in it."""


async def redact_schema(schema: str, find: FindInJoined, redact: Redact) -> str:
    """The schema with tokens in place of personal data in its values and descriptions; to the letter the same where
    there is none and every name stands once in its object: of two the last one is read, and the first one would hide.
    All its words are searched at once. Raises `ValueError` where it is not JSON."""
    if not schema:
        return schema
    repeated: list[str] = []

    def read(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated.extend(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return dict(pairs)

    root = json.loads(schema, object_pairs_hook=read)
    texts = list(dict.fromkeys(filter(str.strip, _words_of(root))))
    found = await _found_in(texts, find) if texts else []
    changed = {text: await redact(text, own) for text, own in zip(texts, found, strict=True) if own}
    return json.dumps(_replaced(root, changed), ensure_ascii=False) if changed or repeated else schema


async def _found_in(texts: Sequence[str], find: FindInJoined) -> list[list[PersonalPiece]]:
    """What was found in each text by itself, though they are searched together, which is quicker."""
    found: list[list[PersonalPiece]] = []
    everything = await find(BETWEEN.join(texts))
    offset = 0
    for text in texts:
        last = offset + len(text)
        own = [each for each in everything if each.start < last and offset < each.end]
        if any(each.start < offset or each.end > last for each in own):
            own, offset_of_own = list(await find(text)), 0
        else:
            offset_of_own = offset
        found.append([_moved(each, offset_of_own) for each in own])
        offset = last + len(BETWEEN)
    return found


def _moved(found: PersonalData, offset: int) -> PersonalPiece:
    return PersonalPiece(found.kind, found.start - offset, found.end - offset, found.value)


def _words_of(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        for each in part:
            yield from _words_of(each)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key in WORDS:
                yield from _strings_of(value)
            else:
                for each in value.values() if key in MAPS and isinstance(value, dict) else (value,):
                    yield from _words_of(each)


def _strings_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings_of(each)


def _replaced(part: Any, changed: Mapping[str, str]) -> Any:
    if isinstance(part, list):
        return [_replaced(each, changed) for each in part]
    if not isinstance(part, dict):
        return part
    made: dict[str, Any] = {}
    for key, value in part.items():
        if key in WORDS:
            made[key] = _replaced_strings(value, changed)
        elif key in MAPS and isinstance(value, dict):
            made[key] = {name: _replaced(each, changed) for name, each in value.items()}
        else:
            made[key] = _replaced(value, changed)
    return made


def _replaced_strings(value: Any, changed: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return changed.get(value, value)
    if isinstance(value, list):
        return [_replaced_strings(each, changed) for each in value]
    if isinstance(value, dict):
        return {name: _replaced_strings(each, changed) for name, each in value.items()}
    return value
