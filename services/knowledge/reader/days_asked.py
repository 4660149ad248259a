"""Where a question names a day of the week, the answer says what holds on that day. Next: selection.py.

Knows which days a unit speaks of, and not what it says of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.services.knowledge.reader.candidates import Candidate
from tidegate.services.knowledge.reader.selection import (
    MOST_SENTENCES,
    FindGroup,
    Selection,
    is_same_section,
    label_of,
    unnumbered,
)
from tidegate.services.languages.weekdays import WEEK, find_weekdays

_FEWEST_DATED = 2
"""Entries that name days from which on a list or a table is one of days."""


def select_day(
    selection: Selection, ranked: Sequence[Candidate], question: str, language: str, find_group: FindGroup
) -> Selection:
    """The selection for a question that names days: of a list or a table of days the entries of these; beside
    sentences of other days the sentence of the same section that speaks of them. Else the selection as it is.

    `ranked` are all units, best first; for `find_group` see `select_units`.
    """
    asked = find_weekdays(question, language)
    if not asked or asked == WEEK or not selection.units:
        return selection
    first = selection.units[0]
    if first.unit.kind == "sentence":
        return _beside_sentences(selection, ranked, asked)
    group = find_group(first)
    is_whole = len(selection.units) > MOST_SENTENCES or len(selection.units) >= len(group)
    entries = _entries_of(group, asked, by_label=True) or (
        _entries_of(group, asked, by_label=False) if is_whole else []
    )
    return Selection(units=tuple(map(unnumbered, entries))) if entries else selection


def _entries_of(group: Sequence[Candidate], asked: frozenset[int], *, by_label: bool) -> list[Candidate]:
    """The entries that speak of a day that is asked for, in a list or table of several that speak of days."""
    days = [find_weekdays(label_of(each) if by_label else each.plain_text, each.passage.language) for each in group]
    found = [each for each, own in zip(group, days, strict=True) if asked & own]
    is_of_days = sum(map(bool, days)) >= _FEWEST_DATED
    return found if is_of_days and len(found) < len(group) and len(found) <= MOST_SENTENCES else []


def _beside_sentences(selection: Selection, ranked: Sequence[Candidate], asked: frozenset[int]) -> Selection:
    """The sentences with the nearest one of their section that speaks of the days, where they speak of others."""
    first = selection.units[0]
    stated = [find_weekdays(each.plain_text, each.passage.language) for each in selection.units]
    if not stated[0] or any(asked <= days for days in stated) or len(selection.units) >= MOST_SENTENCES:
        return selection
    others = [
        each
        for each in ranked
        if is_same_section(each, first)
        and each.unit.kind == "sentence"
        and asked <= find_weekdays(each.plain_text, each.passage.language)
    ]
    if not others:
        return selection
    nearest = min(others, key=lambda each: abs(each.unit.start - first.unit.start))
    units = sorted((*selection.units, unnumbered(nearest)), key=lambda each: each.unit.start)
    return msgspec.structs.replace(selection, units=tuple(units))
