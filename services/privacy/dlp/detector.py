"""Runs the rules over a text, each behind a gate that is cheaper than the rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import phonenumbers

from tidegate.services.privacy.dlp.context import births, numbers_in_context
from tidegate.services.privacy.dlp.credentials import secrets
from tidegate.services.privacy.dlp.finding import Finding, Span, merged
from tidegate.services.privacy.dlp.folding import folded
from tidegate.services.privacy.dlp.names import names
from tidegate.services.privacy.dlp.numbers import addresses, cards, emails, ibans, national_ids
from tidegate.services.privacy.dlp.phones import phones


class Detector:
    """Deterministic, stateless, linear in the text. `version` changes with any rule, region or numbering plan."""

    def __init__(self, phone_regions: Sequence[str]) -> None:
        """`phone_regions`: ISO 3166-1 codes in which a number without a country code counts. Raises `ValueError`."""
        unknown = sorted(set(phone_regions) - phonenumbers.SUPPORTED_REGIONS)
        if unknown:
            raise ValueError(f"no telephone numbering plan for {', '.join(unknown)}; use ISO 3166-1 codes such as DE")
        self._regions = tuple(phone_regions)
        rules = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
        plans = f"{phonenumbers.__version__} {' '.join(self._regions)}".encode()
        self.version = sha256(rules + plans).hexdigest()[:12]

    def find(self, text: str) -> list[Finding]:
        """The personal data in `text`: sorted, never overlapping, each with the words as they stand there."""
        plain, place_of = folded(text)
        found = []
        for span in merged(self._spans(plain)):
            start, end = place_of(span.start), place_of(span.end - 1) + 1
            found.append(Finding(kind=span.kind, start=start, end=end, value=text[start:end]))
        return found

    def _spans(self, text: str) -> Iterator[Span]:
        digits = sum(map(text.count, "0123456789"))
        if "@" in text:
            yield from emails(text)
        if digits >= 3:
            yield from addresses(text)
        if digits >= 4:
            yield from births(text)
            yield from numbers_in_context(text)
        if digits >= 6:
            yield from national_ids(text)
        if digits >= 7:
            yield from ibans(text)
            yield from cards(text)
            yield from phones(text, self._regions)
        yield from secrets(text)
        yield from names(text)
