"""Finds what may be a field's value, by the kind of value that it asks for. Promises verbatim spans that the schema
takes. Next: features.py."""

from __future__ import annotations

import re
from typing import Any

from tidegate.services.knowledge.extraction.candidates import ValueCandidate
from tidegate.services.knowledge.extraction.dates import find_dates, find_impossible_dates, find_times, read_zone
from tidegate.services.knowledge.extraction.numbers import find_numbers
from tidegate.services.knowledge.extraction.phrases import find_strings
from tidegate.services.knowledge.extraction.schema import Schema
from tidegate.services.knowledge.extraction.terms import FieldQuery, name_words, token_fits

_IBAN = re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}")


class TextValues:
    """The values of one text by kind, each found once."""

    def __init__(self, text: str, language: str) -> None:
        self._text = text
        self.dates = find_dates(text, language)
        self.strings = find_strings(text)
        hidden = [each for each in self.strings if each.shape.startswith("token") or each.shape in ("email", "url")]
        self.times = [*find_times(text, language, [*self.dates, *hidden])]
        clocks = [each for each in self.times if each.shape == "clock"]
        hidden += find_impossible_dates(text)
        self.numbers = [*find_numbers(text, language, [*self.dates, *clocks, *hidden])]
        self.language = language

    def candidates(self, asked: FieldQuery, schema: Schema) -> list[ValueCandidate]:
        """What the field may take, in order of appearance, of the schema's kind and within its bounds."""
        found = [each for each in self._of_family(asked) if schema.fits(asked.field.part, each.value)]
        if asked.family == "pattern":
            found = _longest_codes(
                [each for each in found if not each.shape.startswith("token") or token_fits(asked, each)]
            )
        return sorted(found, key=lambda each: (each.start, each.end))

    def _of_family(self, asked: FieldQuery) -> list[ValueCandidate]:
        field = asked.field
        match asked.family:
            case "number":
                return self._numbers(field.kind)
            case "date":
                return self.dates
            case "time":
                return self.times
            case "date-time":
                return self._moments()
            case "address":
                wanted = "url" if field.format in ("uri", "url", "iri") else "email"
                return [each for each in self.strings if each.shape in (wanted, f"token_{wanted}")]
            case "pattern":
                return [*self.strings, *self.dates, *self.times, *self._currencies(), *self._as_text()]
        if "email" in asked.concepts:
            return [each for each in self.strings if each.shape in ("email", "token_email")]
        if "iban" in name_words(field.name):
            return [each for each in self.strings if each.shape == "token_iban" or _IBAN.fullmatch(each.value)]
        return self.strings

    def _numbers(self, kind: str) -> list[ValueCandidate]:
        if kind == "number":
            return self.numbers
        return [each for each in self.numbers if isinstance(each.value, int)]

    def _as_text(self) -> list[ValueCandidate]:
        return [ValueCandidate(str(each.value), each.start, each.end, each.shape, each.unit) for each in self.numbers]

    def _currencies(self) -> list[ValueCandidate]:
        codes = [each for each in self.numbers if len(each.unit) == 3 and each.unit.isupper()]
        return [ValueCandidate(each.unit, each.start, each.end, "code", each.unit) for each in codes]

    def _moments(self) -> list[ValueCandidate]:
        """A date with the time of day that stands beside it, without a zone where the text has none."""
        found = []
        for date in self.dates:
            for time in self.times:
                if 0 <= time.start - date.end <= 16 or 0 <= date.start - time.end <= 16:
                    start, end = min(date.start, time.start), max(date.end, time.end)
                    seconds, zone, stop = read_zone(self._text, time.end)
                    moment = f"{date.value}T{time.value}:{seconds}{zone}"
                    found.append(ValueCandidate(moment, start, max(end, stop), time.shape))
        return found


def _longest_codes(found: list[ValueCandidate]) -> list[ValueCandidate]:
    """Without the parts of a code that a pattern takes as a whole."""
    codes = [(each.start, each.end) for each in found if each.shape == "code"]
    return [
        each
        for each in found
        if not any(s <= each.start and each.end <= e and e - s > each.end - each.start for s, e in codes)
    ]


def same_value(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
