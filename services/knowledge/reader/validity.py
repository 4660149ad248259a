"""Until or from when a sentence holds, where it says so; and which of several holds at a time.

Promises that what cannot be dated holds. Next: services/languages/data/prose, whose words stand before such dates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta
from functools import cache

import msgspec

from tidegate.services.languages.prose import PROSE_LANGUAGES, load_prose
from tidegate.services.languages.words import LANGUAGES, load_words

_MONTH_DAYS = 31
_YEAR = r"(?:19|20)\d\d"


class Validity(msgspec.Struct, frozen=True, gc=False):
    """The first and the last day on which something holds; None: without an end on that side."""

    first: date | None = None
    last: date | None = None

    def covers(self, day: date) -> bool:
        """Whether it holds on that day."""
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)

    @property
    def is_dated(self) -> bool:
        return self.first is not None or self.last is not None


def read_validity(text: str, language: str) -> Validity:
    """The validity that a sentence or a heading states, as in `until 31 March 2026` or `from 2027`."""
    patterns = _patterns(language if language in PROSE_LANGUAGES else "en")
    first = _find(patterns["since"], text, language, is_last=False)
    last = _find(patterns["until"], text, language, is_last=True)
    return Validity(first, last)


def choose_current(validities: Sequence[Validity], day: date) -> int:
    """Which of several versions of one thing holds on `day`: of those that do, the one that began last; the first where
    none is told apart."""
    current = [index for index, each in enumerate(validities) if each.covers(day)] or list(range(len(validities)))
    return max(current, key=lambda index: (validities[index].first or date.min, -index))


def _find(pattern: re.Pattern[str], text: str, language: str, *, is_last: bool) -> date | None:
    found = pattern.search(text)
    if found is None:
        return None
    year, month, day = _year(found), _month(found, language), found["day"] or found["nday"] or found["iday"]
    if year is None:
        return None
    try:
        if month is None:
            return date(year, 12, 31) if is_last else date(year, 1, 1)
        if day:
            return date(year, month, int(day))
        start = date(year, month, 1)
        return (start + timedelta(_MONTH_DAYS)).replace(day=1) - timedelta(1) if is_last else start
    except ValueError:
        return None


def _year(found: re.Match[str]) -> int | None:
    year = found["year"] or found["nyear"] or found["iyear"] or found["only"]
    return int(year) if year else None


def _month(found: re.Match[str], language: str) -> int | None:
    if number := found["nmonth"] or found["imonth"]:
        return int(number)
    name = (found["month"] or found["amonth"] or "").lower()
    months = load_words(language).months if language in LANGUAGES else ()
    return next((n for n, starts in enumerate(months, 1) for s in starts.split() if name and name.startswith(s)), None)


@cache
def _patterns(language: str) -> dict[str, re.Pattern[str]]:
    words = load_prose(language).validity
    months = "|".join(" ".join(load_words(language).months).split()) if language in LANGUAGES else "(?!)"
    dated = (
        rf"(?:(?P<iyear>{_YEAR})-(?P<imonth>\d\d)-(?P<iday>\d\d)"
        rf"|(?P<nday>\d{{1,2}})[./](?P<nmonth>\d{{1,2}})[./](?P<nyear>{_YEAR})"
        rf"|(?:(?:the )?(?P<day>\d{{1,2}})(?:\.|st|nd|rd|th|er|º)? ?(?:de |of )?)?(?P<month>(?:{months})\w*)\.?"
        rf"(?: de| of|,)? ?(?P<year>{_YEAR})"
        rf"|(?P<amonth>(?:{months})\w*) \d{{1,2}}, {_YEAR}|(?P<only>{_YEAR}))(?!\d)"
    )
    filler = r":?(?:\s+(?:the|end|of|dem|den|ende|le|la|fin|el|del|de|finales|dieses|zum|am))*\s+"
    return {
        name: re.compile(rf"(?<!\w)(?:{'|'.join(chosen)}){filler}{dated}", re.IGNORECASE)
        for name, chosen in (("since", words.since), ("until", words.until))
    }
