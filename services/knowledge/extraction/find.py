"""Finds what may be a field's value, by the kind of value that it asks for. Promises verbatim spans that the schema
takes. Next: features.py."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from tidegate.services.knowledge.extraction.candidates import ValueCandidate
from tidegate.services.knowledge.extraction.dates import find_dates, find_impossible_dates, find_times, read_zone
from tidegate.services.knowledge.extraction.lone_days import DAY
from tidegate.services.knowledge.extraction.numbers import CURRENCIES, find_numbers
from tidegate.services.knowledge.extraction.phrases import find_strings, is_name_with_title, says_missing
from tidegate.services.knowledge.extraction.schema import Schema
from tidegate.services.knowledge.extraction.terms import FieldQuery, name_words, token_fits
from tidegate.services.knowledge.extraction.value_features import is_phone
from tidegate.services.languages.extraction_words import any_of

_DEDUCTED = frozenset({"discount", "deposit", "refund", "credit"})
_APART, _BEFORE = 48, 16
"""Characters at most between a date and the time of day behind it, and before it."""
_POSTCODE = re.compile(r"[A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2}|(?:[A-Z]{1,3}-)?\d{4,5}(?:-\d{4})?")
_NUMBERED = re.compile(rf"(?:{any_of('number_signs')})(?:\.\s?|\s)(?=\S*\d)", re.IGNORECASE)
"""What leads a number and is no part of it."""
_IBAN = re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}")


class TextValues:
    """The values of one text by kind, each found once."""

    def __init__(self, text: str, language: str) -> None:
        self._text = text
        self.dates = find_dates(text, language)
        self.strings = find_strings(text)
        titles = {each.start for each in self.strings if is_name_with_title(each.value)}
        self._whole_names = [
            each for each in self.strings if each.start not in titles and not _NUMBERED.match(each.value)
        ]
        hidden = [each for each in self.strings if each.shape.startswith("token") or each.shape in ("email", "url")]
        dates = [each for each in self.dates if each.shape != DAY]
        self.times = [*find_times(text, language, [*dates, *hidden])]
        clocks = [each for each in self.times if each.shape == "clock"]
        hidden += find_impossible_dates(text)
        self.numbers = [*find_numbers(text, language, [*dates, *clocks, *hidden])]
        self.language = language

    def candidates(self, asked: FieldQuery, schema: Schema) -> list[ValueCandidate]:
        """What the field may take, in order of appearance, of the schema's kind and within its bounds."""
        found = [each for each in self._of_family(asked) if schema.fits(asked.field.part, each.value)]
        if "currency" in asked.concepts:
            found = [each for each in found if each.value in CURRENCIES] or found
        if asked.family == "pattern":
            found = _longest_codes(
                [each for each in found if not each.shape.startswith("token") or token_fits(asked, each)]
            )
        return sorted(found, key=lambda each: (each.start, each.end))

    def _of_family(self, asked: FieldQuery) -> list[ValueCandidate]:
        field = asked.field
        match asked.family:
            case "number":
                return self._numbers(field.kind, is_deducted=bool(asked.concepts & _DEDUCTED))
            case "date":
                return self.dates
            case "time" if field.format == "time":
                return [msgspec.structs.replace(each, value=f"{each.value}:00") for each in self.times]
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
        return self._strings(asked)

    def _numbers(self, kind: str, *, is_deducted: bool) -> list[ValueCandidate]:
        """All, or whole ones; what is deducted stands with a minus in an account, and its amount is asked for."""
        found = [each for each in self.numbers if kind == "number" or isinstance(each.value, int)]
        if is_deducted:
            return [msgspec.structs.replace(each, value=abs(each.value)) for each in found]
        return found

    def _strings(self, asked: FieldQuery) -> list[ValueCandidate]:
        """All, but that what may be null is no word for nothing, and that of telephone numbers and postcodes only such
        as look like one where any does."""
        found = self._whole_names
        if asked.field.is_nullable:
            found = [each for each in found if not says_missing(each.value)]
        for concept, is_one in (("phone", is_phone), ("postcode", _POSTCODE.fullmatch)):
            if concept in asked.concepts:
                own = [each for each in found if each.shape.startswith("token") or is_one(each.value)]
                found = own or found
        return found

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
                if 0 <= time.start - date.end <= _APART or 0 <= date.start - time.end <= _BEFORE:
                    start, end = min(date.start, time.start), max(date.end, time.end)
                    seconds, zone, stop = read_zone(self._text, time.end)
                    moment = f"{date.value}T{time.value}:{seconds}{zone}"
                    found.append(ValueCandidate(moment, start, max(end, stop), time.shape))
        return found


def _longest_codes(found: list[ValueCandidate]) -> list[ValueCandidate]:
    """Without the parts of a code or an IBAN that a pattern takes as a whole."""
    codes = [(each.start, each.end) for each in found if each.shape == "code" or _IBAN.fullmatch(each.value)]
    return [
        each
        for each in found
        if not any(s <= each.start and each.end <= e and e - s > each.end - each.start for s, e in codes)
    ]


def same_value(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
