"""Where entries hold for ranges of numbers, a question with a number gets those whose range holds it.

`Ages under 12` and `from 12` are such entries, and `up to 2 hours` and `up to 5 hours`: of those the narrowest counts.
Next: selection.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.index.markdown import split_cells
from tidegate.services.knowledge.reader.candidates import Candidate
from tidegate.services.knowledge.reader.selection import FindGroup, Selection, label_of, unnumbered
from tidegate.services.languages.ranges import CountedNumber, NumberRange, find_numbers, find_range

_FEWEST_RANGES = 2
_CLOSING = (")", "]")


def select_range(selection: Selection, question: str, find_group: FindGroup) -> Selection:
    """The selection with only the entries whose range holds the question's number, where it has one that counts what
    the ranges do: by its unit, in brackets as an age is (`my son (8)`), or behind the name of the first column.

    As it is where no selected entry has a range, or fewer than two of its table or list; see `select_units` for
    `find_group`.
    """
    numbers = find_numbers(question)
    if len(numbers) != 1 or not selection.units or selection.units[0].unit.kind == "sentence":
        return selection
    group = find_group(selection.units[0])
    ranged = [(each, found) for each in group if (found := _range_of(each)) is not None]
    chosen = {unit.span for unit in selection.units}
    if len(ranged) < _FEWEST_RANGES or not any(each.span in chosen for each, _ in ranged):
        return selection
    holding = [
        (each, found)
        for each, found in ranged
        if found.holds(numbers[0].value) and _counts(numbers[0], question, each, found)
    ]
    narrowest = [each for each, found in holding if not any(other.is_inside(found) for _, other in holding)]
    return Selection(units=tuple(map(unnumbered, narrowest))) if narrowest else selection


def _range_of(entry: Candidate) -> NumberRange | None:
    return find_range(label_of(entry), entry.passage.language)


def _counts(number: CountedNumber, question: str, entry: Candidate, found: NumberRange) -> bool:
    """Whether the number is one of what the range is of."""
    if found.unit and number.unit == found.unit:
        return True
    if question[number.end : number.end + 1] in _CLOSING:
        return True
    return _is_named_before(question[: number.start], entry)


def _is_named_before(before: str, entry: Candidate) -> bool:
    """Whether the word before a number is in the name of the entry's first column."""
    language = entry.passage.language
    header: Sequence[str] = split_cells(entry.context[0][2]) if entry.unit.kind == "row" and entry.context else ()
    names = find_terms(header[0], language) if header else ()
    words = find_terms(before, language)
    return bool(words) and words[-1] in names
