"""Reads tables that stand in a text as aligned columns: a line of headings, and lines whose cells stand below them.

Promises verbatim cells, each below the heading that names its field.
Next: rows.py, which reads what has no headings."""

from __future__ import annotations

import heapq
import re
from bisect import bisect_left
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

from tidegate.services.knowledge.extraction.find import TextValues
from tidegate.services.knowledge.extraction.schema import Schema
from tidegate.services.knowledge.extraction.terms import OWN, FieldQuery, Term
from tidegate.services.languages.extraction_words import all_words, concepts_by_word, fold, stem

_GAP = re.compile(r"[ ]*\|[ ]*|\t+|[ ]{2,}")
_RULE = re.compile(r"^[\s|:\-=+_.*]+$")
_WORD = re.compile(r"[^\W_]+\.?|[€£$%#]")
_SUMS = frozenset({"total", "net", "gross", "tax", "discount", "deposit"})
_MOST_COLUMNS, _LEAST_COLUMNS = 8, 3
"""Headings of a table; of two words side by side, or nine, nothing is told."""
_TRIED = 48
"""Ways to give each field a column of which the rows are read, and which are kept while fields are added."""
_HEADINGS_TRIED = 6
"""Lines that could be headings below which rows are sought: each costs all lines below it, so that a text of nothing
but headings would cost their square."""
_CHOSEN = ("boolean", "enum")
_MARGIN = 6
"""Columns of a line that a first heading leaves free for names of rows that have no heading."""
_LEAST_ABBREVIATION = 2
_NAMED, _SHORTENED, _MEANT, _TAKEN = 1.0, 0.8, 0.7, 0.2
"""How well a heading names a field: by its word, a part of it, a word for the same, or by nothing but its values."""


class Cell(NamedTuple):
    """A part of a line, by its characters in the text and by its columns in the line."""

    text: str
    start: int
    left: int
    right: int


class TableRow(msgspec.Struct, frozen=True):
    """A row as an object, and the characters of its line."""

    value: dict[str, Any]
    start: int
    end: int


def read_aligned(asked: Sequence[FieldQuery], schema: Schema, text: str, values: TextValues) -> list[TableRow]:
    """The rows of the first table whose headings name most of the fields; none where no line is such a heading."""
    lines = [(match.start(), match[0]) for match in re.finditer(r"[^\n]+", text)]
    tried = 0
    for number, (start, line) in enumerate(lines):
        headings = _headed(_cells(line, start), start)
        if not _LEAST_COLUMNS - (len(asked) == 2) <= len(headings) <= _MOST_COLUMNS or _has_values(headings):
            continue
        named = [[_names(each, heading.text) for heading in headings] for each in asked]
        if sum(max(row) >= _MEANT for row in named) < max(1, len(asked) // 2):
            continue
        if (tried := tried + 1) > _HEADINGS_TRIED:
            break
        below = _below(headings, lines[number + 1 :])
        rows = _fill(asked, schema, values, named, below)
        if rows:
            return rows
    return []


def _cells(line: str, start: int) -> list[Cell]:
    cells, at = [], 0
    for match in (*_GAP.finditer(line), None):
        end = match.start() if match else len(line)
        part = line[at:end]
        if part.strip():
            lead = len(part) - len(part.lstrip())
            cells.append(Cell(part.strip(), start + at + lead, at + lead, at + len(part.rstrip())))
        at = match.end() if match else at
    return cells


def _headed(headings: list[Cell], start: int) -> list[Cell]:
    """The headings with one more for what stands to their left, where they begin far from the margin."""
    if not headings or headings[0].left < _MARGIN:
        return headings
    return [Cell("", start, 0, headings[0].left - _MARGIN // 2), *headings]


def _has_values(headings: Sequence[Cell]) -> bool:
    return any(re.search(r"\d", each.text) or each.text.endswith(":") for each in headings)


def _below(headings: Sequence[Cell], lines: Sequence[tuple[int, str]]) -> list[list[Cell | None]]:
    """The cells of each line under the headings, until a line has none of them."""
    found: list[list[Cell | None]] = []
    for start, line in lines:
        if _RULE.match(line):
            continue
        cells = _cells(line, start)
        if len(cells) < 2 and found:
            break
        placed: list[Cell | None] = [None] * len(headings)
        if len(cells) == len(headings):
            placed = [*cells]
        else:
            for cell in cells:
                for column in _columns_of(cell, headings):
                    placed[column] = placed[column] or cell
        first = fold(cells[0].text).split() if cells else []
        if first and concepts_by_word().get(stem(first[0].strip(".:")), frozenset()) & _SUMS:
            break
        found.append(placed)
    return found


def _columns_of(cell: Cell, headings: Sequence[Cell]) -> list[int]:
    """The columns whose headings a cell stands below; the nearest where it stands between two."""
    below = [n for n, each in enumerate(headings) if cell.left < each.right and each.left < cell.right]
    if below:
        return below
    apart = [max(each.left - cell.right, cell.left - each.right) for each in headings]
    return [apart.index(min(apart))]


def _names(asked: FieldQuery, heading: str) -> float:
    """How well a heading names a field."""
    words = _WORD.findall(heading)
    best = 0.0
    for term in asked.terms:
        if term.weight == OWN:
            best = max([best, *(_matched(term, word) for word in words)])
    own = [term for term in asked.terms if term.weight == OWN]
    whole = sum(max((_matched(term, word) for word in words), default=0.0) for term in own)
    return best + 0.1 * whole / max(1, len(own)) if best else 0.0


def _matched(term: Term, word: str) -> float:
    folded = fold(word).rstrip(".")
    if term.folded == folded or (len(folded) >= 3 and term.stem == stem(folded)):
        return _NAMED
    if len(folded) >= _LEAST_ABBREVIATION and word.endswith(".") and term.folded.startswith(folded):
        return _SHORTENED
    if len(folded) >= 4 and (
        term.folded.startswith(folded) or folded in term.folded or (len(term.folded) > 3 and term.folded in folded)
    ):
        return _SHORTENED
    known = concepts_by_word().get(stem(folded), frozenset())
    if word.endswith(".") and len(folded) >= _LEAST_ABBREVIATION:
        known = known.union(*(concepts for key, concepts in concepts_by_word().items() if key.startswith(folded[:6])))
    return _MEANT if known & term.concepts else 0.0


def _fill(
    asked: Sequence[FieldQuery],
    schema: Schema,
    values: TextValues,
    named: Sequence[Sequence[float]],
    below: Sequence[list[Cell | None]],
) -> list[TableRow]:
    """The rows by the columns that suit the fields best, up to the first line that is none."""
    count = len(named[0]) if named else 0
    if not len(asked) <= count:
        return []
    readers = [CellReader(each, schema, values) for each in asked]
    read = [[[own.read(row[column]) for column in range(count)] for row in below] for own in readers]
    suits = [[_suits(each, [row[column] for row in below]) for column in range(count)] for each in asked]
    fits = [
        [own or _TAKEN * other for own, other in zip(*both, strict=True)] for both in zip(named, suits, strict=True)
    ]

    best: list[TableRow] = []
    for columns in _best_columns(fits, count):
        rows: list[TableRow] = []
        for number, cells in enumerate(below):
            row = _row(asked, cells, [read[n][number][column] for n, column in enumerate(columns)])
            if row is None and rows and sum(each is not None for each in cells) <= len(cells) // 2:
                break
            if row is not None:
                rows.append(row)
        if len(rows) > 2 * len(best):
            best = rows
    return best


def _best_columns(fits: Sequence[Sequence[float]], count: int) -> list[tuple[int, ...]]:
    """Ways to give each field a column of its own, the fittest first: `_TRIED` are kept with each field that is added,
    for all orders of nine columns are too many to try."""
    ways: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    for own in fits:
        longer = (
            ((*columns, column), fit + own[column])
            for columns, fit in ways
            for column in range(count)
            if column not in columns
        )
        ways = heapq.nlargest(_TRIED, longer, key=itemgetter(1))
    return [columns for columns, _ in ways]


def _suits(asked: FieldQuery, cells: Sequence[Cell | None]) -> float:
    """The share of a column's cells that look like values of a field which no heading names: words for a string."""
    written = [each.text for each in cells if each is not None]
    letters = sum(sum(map(str.isalpha, text)) for text in written) / max(1, sum(map(len, written)))
    return letters if asked.family == "string" else 1 - letters


def _row(asked: Sequence[FieldQuery], cells: Sequence[Cell | None], found: Sequence[Any]) -> TableRow | None:
    """The object of a line; None where a value that it must have is not in it."""
    if any(
        one is None and not each.field.is_nullable and each.field.is_required
        for each, one in zip(asked, found, strict=True)
    ):
        return None
    if all(one is None for one in found):
        return None
    present = [each for each in cells if each is not None]
    value = {each.field.name: one for each, one in zip(asked, found, strict=True)}
    return TableRow(value, present[0].start, present[-1].start + len(present[-1].text))


class CellReader:
    """Reads what cells say for one field."""

    def __init__(self, asked: FieldQuery, schema: Schema, values: TextValues) -> None:
        self._asked, self._schema = asked, schema
        self._found = [] if asked.family in ("string", *_CHOSEN) else values.candidates(asked, schema)
        self._starts = [each.start for each in self._found]

    def read(self, cell: Cell | None) -> Any:
        """The cell's text, or the first value of the field's kind in it; None for none."""
        is_bare = cell is None or not any(map(str.isalnum, cell.text))
        if cell is None or is_bare or fold(cell.text).strip(" .-–—") in all_words("missing"):
            return None
        if self._asked.family == "string":
            return cell.text if self._schema.fits(self._asked.field.part, cell.text) else None
        if self._asked.family in _CHOSEN:
            return _option(self._asked, cell.text)
        end = cell.start + len(cell.text)
        for each in self._found[bisect_left(self._starts, cell.start) :]:
            if each.start >= end:
                break
            if each.end <= end:
                return each.value
        return None


def _option(asked: FieldQuery, text: str) -> Any:
    """The option that a cell is."""
    return next((each for each in asked.field.options or () if fold(str(each)) == fold(text)), None)
