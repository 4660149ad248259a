"""Keeps of a list or a table what a question names of it: entries, a number in a range, a day. Next: entries_named.py,
range_asked.py, days_asked.py."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.services.knowledge.reader.candidates import Candidate
from tidegate.services.knowledge.reader.days_asked import select_day
from tidegate.services.knowledge.reader.entries_named import select_named
from tidegate.services.knowledge.reader.range_asked import select_range
from tidegate.services.knowledge.reader.selection import FindGroup, Selection


def select_asked(
    selection: Selection, ranked: Sequence[Candidate], question: str, language: str, find_group: FindGroup
) -> Selection:
    """The selection with what the question names of the list or table that it is from.

    What is from several, as the answers to a question of several parts are, stays as it is. `ranked` are all units,
    best first; for `find_group` see `select_units`.
    """
    if len({(each.passage.document_id, each.unit.group) for each in selection.units}) != 1:
        return selection
    selection = select_named(selection, question, language, find_group)
    selection = select_range(selection, question, find_group)
    return select_day(selection, ranked, question, language, find_group)
