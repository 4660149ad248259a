"""Fills a JSON schema from a text, without a model. Promises only values that stand in the text. Next: values.py."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from tidegate.schemas import Answer, Check
from tidegate.services.knowledge.extraction import values
from tidegate.services.knowledge.extraction.schema import MOST_DEPTH, Schema, UnsupportedSchemaError, list_types
from tidegate.services.knowledge.extraction.values import FoundValue
from tidegate.services.languages.words import LANGUAGES, load_words

MISSING_AT_MOST = 0.3
_GUESS = 0.6
_SYNONYMS = tuple(
    tuple(word for language in LANGUAGES for word in load_words(language).labels.get(field, ()))
    for field in load_words("en").labels
)
_TOKEN_KINDS = {
    "email": "EMAIL",
    "e-mail": "EMAIL",
    "phone": "PHONE",
    "telephone": "PHONE",
    "mobile": "PHONE",
    "iban": "IBAN",
    "card": "CARD",
    "name": "NAME",
    "customer": "NAME",
}


def extract(text: str, schema_text: str) -> Answer:
    """The JSON object that the text fills the schema with, `format="json"`.

    A value is verbatim in the text, but that a number or a date is written as JSON wants it. Personal data is in the
    text as vault tokens and stays so. Where a required property is not in the text, or the schema cannot be filled
    here, the answer shows it by its checks and a confidence of at most 0.3, and the policy abstains. A check `schema`
    passes when the object is valid (vault tokens stand outside formats, which are annotations: JSON Schema 2020-12,
    7.2.1); its score is the share of the required properties that were found. The confidence is that of the ways in
    which the values were found, on average; it is not calibrated. Takes under 10 ms for 8000 characters.
    """
    try:
        schema = Schema(schema_text)
    except UnsupportedSchemaError as error:
        return Answer(text="", format="json", checks=(Check(f"schema_{error.code}", False, 0.0),))
    found = _SchemaFiller(schema, text).fill_object(schema.root)
    value = _json_value(found)
    wanted = schema.required(schema.root)
    share = sum(name in value for name in wanted) / len(wanted) if wanted else float(bool(value))
    valid = bool(value) and schema.accepts(value)
    confidences = [each.confidence for each in _leaves(found)]
    confidence = sum(confidences) / len(confidences) if confidences else 0.0
    verbatim = all(0 <= each.start < each.end <= len(text) for each in _leaves(found))
    return Answer(
        text=json.dumps(value, ensure_ascii=False),
        format="json",
        confidence=confidence if valid and share == 1.0 else min(confidence, MISSING_AT_MOST) * share,
        checks=(Check("schema", valid, share), Check("grounding", verbatim, float(verbatim))),
    )


class _SchemaFiller:
    """Fills one schema from one text. No character is used for two values of one object."""

    def __init__(self, schema: Schema, text: str) -> None:
        self._schema = schema
        self._text = text

    def fill_object(self, part: Any, depth: int = 0) -> dict[str, Any]:
        """The properties of `part` that were found, in the schema's order."""
        properties = self._schema.properties(part)
        used: list[tuple[int, int]] = []
        filled: dict[str, Any] = {}
        for may_guess in (False, True):  # labels first, so that a lone guess does not take another's value
            for name, each in properties.items():
                value = None if name in filled else self._fill(name, each, depth, used, may_guess)
                if value is not None:
                    filled[name] = value
        return {name: filled[name] for name in properties if name in filled}

    def _fill(self, name: str, part: dict[str, Any], depth: int, used: list[tuple[int, int]], may_guess: bool) -> Any:
        kind = list_types(part)[0]
        if kind == "object":
            return (self.fill_object(part, depth + 1) or None) if depth < MOST_DEPTH else None
        if kind == "array":
            return self._fill_array(part, find_labels(name, part))
        for found in self._find(name, part, kind, may_guess):
            is_free = all(found.end <= start or end <= found.start for start, end in used)
            if is_free and self._schema.fits(part, found.value):
                used.append((found.start, found.end))
                return found
        return None

    def _fill_array(self, part: dict[str, Any], labels: tuple[str, ...]) -> list[FoundValue] | None:
        items = self._schema.resolve(part.get("items", {}))
        if isinstance(items.get("enum"), list):
            return list(values.find_options(self._text, items["enum"])) or None
        found = []
        for start, _ in values.find_after_label(self._text, labels):
            line_end = min(end for end in (self._text.find("\n", start), len(self._text)) if end >= 0)
            for match in re.finditer(r"[^,;\n]+", self._text[start:line_end]):
                item = match[0].strip(" .")
                begin = start + match.start() + match[0].index(item) if item else start
                if item and self._schema.fits(items, item):
                    found.append(FoundValue(item, begin, begin + len(item), 0.9))
            break
        return found or None

    def _find(self, name: str, part: dict[str, Any], kind: str, may_guess: bool) -> Iterator[FoundValue]:
        labels = find_labels(name, part)
        options = [part["const"]] if "const" in part else part.get("enum")
        if isinstance(options, list):
            yield from self._labelled_first(values.find_options(self._text, options), labels, may_guess)
        elif kind == "boolean":
            yield from values.find_booleans(self._text, labels)
        elif kind in ("integer", "number"):
            numbers = values.find_numbers(self._text, whole=kind == "integer")
            yield from self._labelled_first(numbers, labels, may_guess)
        else:
            yield from self._find_strings(name, part, labels, may_guess)

    def _find_strings(
        self, name: str, part: dict[str, Any], labels: tuple[str, ...], may_guess: bool
    ) -> Iterator[FoundValue]:
        form = part.get("format")
        if form == "date":
            yield from self._labelled_first(values.find_dates(self._text), labels, may_guess)
            return
        if form in ("uri", "url"):
            yield from self._labelled_first(values.find_urls(self._text), labels, may_guess)
            return
        words = set(_words(name).split()) | ({str(form)} if form else set())
        for word, token in _TOKEN_KINDS.items():
            if word in words:
                yield from self._labelled_first(values.find_vault_tokens(self._text, token), labels, may_guess)
        if form == "email":
            return
        if isinstance(part.get("pattern"), str):
            yield from self._labelled_first(self._find_matching(part), labels, may_guess)
        yield from values.find_phrases(self._text, labels)

    def _find_matching(self, part: dict[str, Any]) -> Iterator[FoundValue]:
        """Runs of one to four words that the property's pattern takes, the shortest first."""
        words = [(match.start(), match.end()) for match in re.finditer(r"[^\s,;()]+", self._text)]
        for length in range(1, 5):
            for first in range(len(words) - length + 1):
                start, end = words[first][0], words[first + length - 1][1]
                run = self._text[start:end].rstrip(".:!?")
                if run and self._schema.fits(part, run):
                    yield FoundValue(run, start, start + len(run), 0.9)

    def _labelled_first(
        self, values_found: Iterator[FoundValue], labels: tuple[str, ...], may_guess: bool
    ) -> Iterator[FoundValue]:
        """Those behind a label; then, where guessing is allowed, the rest: with more confidence where there is one."""
        found = list(values_found)
        near = [each for each in found if values.is_near_label(self._text, labels, each.start, each.end)]
        yield from near
        if may_guess:
            for each in found:
                if each not in near:
                    yield each if len(found) == 1 else msgspec.structs.replace(each, confidence=_GUESS)


def find_labels(name: str, part: dict[str, Any]) -> tuple[str, ...]:
    """The words that may stand before a property's value: its name, its title, their synonyms, its description."""
    own = [_words(name)]
    if isinstance(part.get("title"), str):
        own.append(_words(part["title"]))
    more = [
        other
        for own_name in own
        for group in _SYNONYMS
        if own_name in group or own_name.split(" ")[-1] in group
        for other in group
    ]
    described = part.get("description")
    if isinstance(described, str) and len(described.split()) <= 4:
        own.append(_words(described))
    return tuple(dict.fromkeys(label for label in (*own, *more) if label))


def _words(name: str) -> str:
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return " ".join(re.sub(r"[_\-.]+", " ", split).casefold().split()[:6])


def _json_value(found: Any) -> Any:
    if isinstance(found, FoundValue):
        return found.value
    if isinstance(found, dict):
        return {name: _json_value(each) for name, each in found.items()}
    return [_json_value(each) for each in found]


def _leaves(found: Any) -> Iterator[FoundValue]:
    if isinstance(found, FoundValue):
        yield found
    else:
        for each in found.values() if isinstance(found, dict) else found:
            yield from _leaves(each)
