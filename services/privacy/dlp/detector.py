"""Runs the rules over a text, each behind a check that is cheaper than the rule, and then the model for names.

Next: finding.py, numbers.py, person_model.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import msgspec
import phonenumbers
import schwifty

from tidegate.schemas import TidegateError
from tidegate.services.languages import identity_words, person_cues, spelled_words
from tidegate.services.languages.compounds import digest_parts
from tidegate.services.languages.identity_words import load_identity_words
from tidegate.services.languages.person_cues import load_person_cues
from tidegate.services.languages.spelled_words import load_spelled_words
from tidegate.services.languages.words import LANGUAGES, load_words
from tidegate.services.privacy.dlp.addresses import find_addresses
from tidegate.services.privacy.dlp.context import find_birth_dates, find_numbers_in_context
from tidegate.services.privacy.dlp.credentials import find_secrets
from tidegate.services.privacy.dlp.disguised import find_split_cards, undisguise
from tidegate.services.privacy.dlp.encoded import decode_blocks, decode_marks
from tidegate.services.privacy.dlp.finding import KINDS, Finding, PersonalSpan, merge_spans
from tidegate.services.privacy.dlp.folding import FoldedText, fold, squeeze
from tidegate.services.privacy.dlp.health import find_health_data
from tidegate.services.privacy.dlp.names import find_names
from tidegate.services.privacy.dlp.national_ids import find_national_ids
from tidegate.services.privacy.dlp.numbering_plans import with_neighbours
from tidegate.services.privacy.dlp.numbers import (
    find_cards,
    find_emails,
    find_ibans,
    find_ip_addresses,
)
from tidegate.services.privacy.dlp.owned_names import find_owned_names
from tidegate.services.privacy.dlp.person_model import PersonModel
from tidegate.services.privacy.dlp.phones import find_phones
from tidegate.services.privacy.dlp.published import PublishedText
from tidegate.services.privacy.dlp.tenant_patterns import TenantPatterns
from tidegate.services.privacy.dlp.units import split_units

NO_PATTERNS: Mapping[str, str] = MappingProxyType({})
DEPTH = 3
"""How deep base64 in base64 is read."""


class PhoneRegionError(TidegateError, ValueError):
    """A region has no telephone numbering plan."""

    hint = "use ISO 3166-1 codes such as DE"


class Detector:
    """Deterministic, stateless, linear in the text. `version` changes with any rule, word, region, numbering plan or
    model."""

    _reads_disguises: ClassVar[bool] = False

    def __init__(
        self,
        phone_regions: Sequence[str],
        person_model: PersonModel | None = None,
        published: PublishedText | None = None,
        *,
        finds_health: bool = False,
        patterns: Mapping[str, str] = NO_PATTERNS,
        budget_s: float = math.inf,
    ) -> None:
        """`phone_regions`: ISO 3166-1 codes in which a number without a country code counts.

        `person_model` finds names and addresses that no rule introduces, save those that are `published`. It takes
        half a millisecond for most questions and some 10 ms for the rest, at most `budget_s` a text; without it rules
        alone look. `finds_health` looks for numbers of patients and insurances and codes of diagnoses too; `patterns`
        are the tenant's own, in RE2 syntax by name.
        Raises `PhoneRegionError`, `TenantPatternError`.
        """
        unknown = sorted(set(phone_regions) - phonenumbers.SUPPORTED_REGIONS)
        if unknown:
            raise PhoneRegionError(f"no telephone numbering plan for {', '.join(unknown)}")
        self._regions = with_neighbours(phone_regions)
        self._finds_health = finds_health
        self._patterns = TenantPatterns(patterns)
        self._person_model = person_model
        self._budget_s = budget_s
        self._published = published or PublishedText()
        rules = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
        rules += b"".join(msgspec.json.encode((words.months, words.personal)) for words in map(load_words, LANGUAGES))
        rules += b"".join(msgspec.json.encode(load_identity_words(each)) for each in identity_words.LANGUAGES)
        rules += b"".join(msgspec.json.encode(load_person_cues(each)) for each in person_cues.LANGUAGES)
        rules += b"".join(msgspec.json.encode(load_spelled_words(each)) for each in spelled_words.LANGUAGES)
        rules += digest_parts("de")
        rules += b"health" if finds_health else b""
        rules += b"disguises" if self._reads_disguises else b""
        rules += b"sentences" if isinstance(self, WrittenTextDetector) else b""
        rules += msgspec.json.encode(sorted(patterns.items())) if patterns else b""
        data = f"{phonenumbers.__version__} {schwifty.__version__} {' '.join(self._regions)}"
        data += f" {person_model.version}" if person_model else ""
        self.version = sha256(rules + data.encode()).hexdigest()[:12]

    @property
    def has_model(self) -> bool:
        """Whether finding takes milliseconds."""
        return self._person_model is not None

    def find(self, text: str) -> list[Finding]:
        """The personal data in `text`: sorted, never overlapping, each with its value as it is written there.

        Raises `UnfinishedScreeningError` where the model did not read the whole of it within `budget_s`.
        """
        until_s = time.monotonic() + self._budget_s
        folded = fold(text)
        disguised = self._disguised_in(folded) if self._reads_disguises else ()
        spans = merge_spans([*self._found_in(folded, DEPTH), *disguised, *self._persons_in(folded, until_s)])
        return [
            Finding(kind=each.kind, start=each.start, end=each.end, value=text[each.start : each.end]) for each in spans
        ]

    def _found_in(self, view: FoldedText, depth: int) -> Iterator[PersonalSpan]:
        """By rules: in the view, in the view decoded, and in what is hidden in base64, which counts as a whole."""
        for reading in filter(None, (view, decode_marks(view))):
            yield from (_in_original(reading, span) for span in self._by_words(reading.text))
            numbers = squeeze(reading)
            yield from (_in_original(numbers, span) for span in self._by_numbers(numbers.text))
            for block in decode_blocks(reading.text) if depth else ():
                found = merge_spans(self._found_in(fold(block.text), depth - 1))
                if found:
                    kind = min((span.kind for span in found), key=KINDS.index)
                    yield _in_original(reading, PersonalSpan(kind, block.start, block.end))

    def _disguised_in(self, view: FoldedText) -> Iterator[PersonalSpan]:
        for reading in filter(None, (view, decode_marks(view))):
            yield from (_in_original(reading, span) for span in find_split_cards(reading.text))
            plain = undisguise(reading)
            if plain is not None:
                yield from self._found_in(plain, 1)

    def _by_words(self, text: str) -> Iterator[PersonalSpan]:
        digits = count_digits(text)
        if "@" in text:
            yield from find_emails(text)
        if digits >= 3:
            yield from find_ip_addresses(text)
            yield from find_birth_dates(text)
        yield from find_secrets(text)
        yield from find_names(text)
        yield from self._patterns.find(text)

    def _by_numbers(self, text: str) -> Iterator[PersonalSpan]:
        digits = count_digits(text)
        if digits >= 2:
            yield from find_ibans(text)  # a bank code and an account may be letters
        if digits >= 4:
            yield from find_numbers_in_context(text)
        if digits >= 4:
            yield from find_national_ids(text)
        if self._finds_health and digits >= 2:
            yield from find_health_data(text)
        if digits >= 7:
            yield from find_cards(text)
            yield from find_phones(text, self._regions)

    def _persons_in(self, view: FoldedText, until_s: float) -> Iterator[PersonalSpan]:
        """Names and addresses in the view as it is decoded, and in what is hidden in base64."""
        if self._person_model is None:
            return
        reading = decode_marks(view) or view
        for span in self._persons(self._person_model, reading.text, until_s):
            yield _in_original(reading, span)
        for block in decode_blocks(reading.text):
            found = next(self._persons(self._person_model, fold(block.text).text, until_s), None)
            if found is not None:
                yield _in_original(reading, PersonalSpan(found.kind, block.start, block.end))

    def _persons(self, model: PersonModel, text: str, until_s: float) -> Iterator[PersonalSpan]:
        for span in (*find_addresses(text), *find_owned_names(text), *model.find(text, until_s)):
            if text[span.start : span.end] not in self._published:
                yield span


class WholeTextDetector(Detector):
    """Reads what is written in words, in markup and in fields of their own too. For texts of people that are there as a
    whole, and not for streams: a view of half a text may be another one."""

    _reads_disguises = True


class WrittenTextDetector(Detector):
    """Reads sentence by sentence what is disguised, as a model writes it. For answers, in the making too: with
    `settled_units` a stream of one gives what the whole gives. A disguise over two sentences is not seen."""

    def find(self, text: str) -> list[Finding]:
        """See `Detector.find`."""
        spans = [PersonalSpan(each.kind, each.start, each.end) for each in super().find(text)]
        for start, end in split_units(text):
            spans += (
                PersonalSpan(each.kind, start + each.start, start + each.end)
                for each in self._disguised_in(fold(text[start:end]))
            )
        return [
            Finding(kind=each.kind, start=each.start, end=each.end, value=text[each.start : each.end])
            for each in merge_spans(spans)
        ]


def count_digits(text: str) -> int:
    """The digits of ASCII in the text: most rules need some."""
    return sum(map(text.count, "0123456789"))


def _in_original(view: FoldedText, span: PersonalSpan) -> PersonalSpan:
    return PersonalSpan(span.kind, *view.locate(span.start, span.end))
