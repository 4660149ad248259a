"""Cuts a text into the rows of a table or a list, and fills one object from each. Promises verbatim values.

Next: filler.py, which fills one row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec

from tidegate.services.knowledge.extraction.candidates import ValueCandidate
from tidegate.services.knowledge.extraction.filler import FilledField, fill
from tidegate.services.knowledge.extraction.find import TextValues
from tidegate.services.knowledge.extraction.schema import Schema
from tidegate.services.knowledge.extraction.tables import read_aligned
from tidegate.services.knowledge.extraction.terms import FieldQuery, match_words
from tidegate.services.knowledge.extraction.text_view import TextView
from tidegate.services.languages.extraction_words import any_of, concepts_by_word, stem
from tidegate.services.languages.words import join_patterns

_AND = join_patterns(lambda words: words.conjunctions)
_CELL = re.compile(r"\s*\|\s*|\t+|\s{3,}|;\s*")
_HEAD = re.compile(r"\s*[^\W\d_][^:\n]{1,40}:$")
"""What a row begins with before a colon."""
_PRICED = re.compile(
    r"[ \t]*(?P<name>[^\n]*?[^\W\d_][^\n]*?)[ \t]{2,}"
    r"(?:[€£$]|[A-Z]{3}\s)?\s?[-−]?\d[\d.,' ]*(?:\s?[^\W\d_]{0,3}[€£$]?)[ \t]*$",
    re.MULTILINE,
)
_LONGEST = 160
"""Characters of such a line."""
_NO_ITEM = frozenset({"total", "net", "gross", "tax", "deposit", "discount", "delivery", "payment", "credit"})
_CUTS = (
    r"\n\s*\n",
    r"\n",
    r"[\n;]|\.\s",
    r"[\n;]|\.\s|,\s",
    rf"[\n;:]|\.\s|,\s|\s(?:{_AND})\s",
)
_PROSE = 4000
"""Characters of a text up to which rows are looked for between conjunctions."""
_RULE = re.compile(r"^[\s|:\-=+]+$")
_TABLE, _ALIGNED, _STRING = 0.9, 0.65, 0.3
_LOST = 0.3
"""How much less sure the rows of a finer cut may be: labelled rows are not cut into pieces of what the labels say."""
_SUMS = frozenset({"total", "net", "gross", "tax"})
_NO_NAME = re.compile(
    rf"^(?:[\d.,\s€£$%x×@=:()/#+-]|\b(?:{any_of('counters')})\b)+|(?:[\s,.;:@×(€£$-]|(?<![^\W_])x)+$", re.IGNORECASE
)


class FilledRow(msgspec.Struct, frozen=True):
    """One object of an array, the characters that it was read from, and a confidence."""

    value: dict[str, Any]
    start: int
    end: int
    confidence: float


def fill_rows(asked: list[FieldQuery], schema: Schema, text: str, language: str) -> list[FilledRow]:
    """The rows of the table whose headings name the fields; else the most that stand one behind the other in one of
    several cuts, the finest in which they are about as sure."""
    aligned = read_aligned(asked, schema, text, TextValues(text, language))
    if aligned:
        return [FilledRow(row.value, row.start, row.end, _ALIGNED) for row in aligned]
    table = _read_table(asked, schema, text, language)
    if table:
        return table
    priced = _read_prices(asked, schema, text, language)
    if priced:
        return priced
    best: list[FilledRow] = []
    for cut in _CUTS if len(text) <= _PROSE else _CUTS[:-1]:
        parts = [each for each in _segments(text, cut) if text[each[0] : each[1]].strip()]
        for rows in _runs([_fill_row(asked, schema, text, *part, language) for part in parts]):
            if len(rows) > len(best) and _sureness(rows) >= _sureness(best) - _LOST:
                best = rows
    return best


def _read_prices(asked: list[FieldQuery], schema: Schema, text: str, language: str) -> list[FilledRow]:
    """Lines that end in a number behind a wide gap, as on a receipt, to the first that is of a sum or of a payment."""
    rows: list[FilledRow] = []
    for start, end in _segments(text, r"\n"):
        is_priced = (
            end - start <= _LONGEST and _PRICED.match(text, start, end) and not _concepts_of(text[start:end]) & _NO_ITEM
        )
        row = _fill_row(asked, schema, text, start, end, language) if is_priced else None
        if row is not None:
            rows.append(row)
        elif rows:
            break
    return rows if len(rows) > 1 else []


def _concepts_of(line: str) -> frozenset[str]:
    """What the first word of a line may stand for."""
    first = re.search(r"[^\W\d_]+", line)
    return concepts_by_word().get(stem(first[0]), frozenset()) if first else frozenset()


def _runs(rows: list[FilledRow | None]) -> list[list[FilledRow]]:
    """The rows that stand one behind the other: what stands apart from a list is none of it."""
    found: list[list[FilledRow]] = [[]]
    for row in rows:
        if row is None:
            found.append([])
        else:
            found[-1].append(row)
    return found


def _sureness(rows: list[FilledRow]) -> float:
    return sum(row.confidence for row in rows) / len(rows) if rows else 0.0


def _segments(text: str, cut: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in re.finditer(cut, text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)


def _fill_row(
    asked: list[FieldQuery], schema: Schema, text: str, start: int, end: int, language: str
) -> FilledRow | None:
    """The object of one row; None where a value that it must have is not in it, and for a row of sums."""
    row = text[start:end]
    view = TextView(row)
    if not row.strip() or not view.words or concepts_by_word().get(view.words[0].stem, frozenset()) & _SUMS:
        return None
    values = TextValues(row, language)
    filled = fill([each for each in asked if each.family != "string"], schema, values, view)
    if any(each.is_absent and not each.field.is_nullable and each.field.is_required for each in filled):
        return None
    if not any(not each.is_absent for each in filled) and len(filled) > 0:
        return None
    if _are_shared([each for each in filled if not each.is_absent and each.field.options is None]):
        return None
    strings = [each for each in asked if each.family == "string"]
    named = _fill_strings(strings, schema, view, [each for each in filled if not each.is_absent])
    if named is None:
        return None
    whole = {each.field.name: each for each in (*filled, *named)}
    value = {each.field.name: whole[each.field.name].value for each in asked}
    confidence = min(each.confidence for each in whole.values())
    return FilledRow(value, start, end, confidence)


def _are_shared(filled: list[FilledField]) -> bool:
    """Whether two of a row's values were read from the same characters: then the row has too few of them."""
    spans = sorted((each.start, each.end) for each in filled if each.field.kind != "boolean")
    return any(end > start for (_, end), (start, _) in pairwise(spans))


def _fill_strings(
    asked: list[FieldQuery], schema: Schema, view: TextView, filled: list[FilledField]
) -> list[FilledField] | None:
    """A label's string where the row has labels; of what is left of the row the longest part."""
    found: list[FilledField] = []
    pieces = _left_over(view.text, filled)
    head = _head_of(view.text, pieces)
    for each in asked:
        labelled = _labelled(each, view)
        if labelled is None and not pieces:
            if not each.field.is_nullable and each.field.is_required:
                return None
            found.append(FilledField(each.field, None, 0, 0, _STRING))
            continue
        chosen = labelled or head or max(pieces, key=lambda piece: sum(char.isalpha() for char in piece.value))
        head = None
        pieces = [piece for piece in pieces if not piece.overlaps(chosen.start, chosen.end)]
        if not schema.fits(each.field.part, chosen.value):
            return None
        found.append(FilledField(each.field, chosen.value, chosen.start, chosen.end, 0.9 if labelled else _STRING))
    return found


def _head_of(text: str, pieces: list[ValueCandidate]) -> ValueCandidate | None:
    """What a row begins with before a colon or before the wide gap that parts it from a number."""
    priced = _PRICED.match(text) if len(text) <= _LONGEST else None
    if priced:
        name = _NO_NAME.sub("", priced["name"]).strip(" ")
        start = text.index(name)
        return ValueCandidate(name, start, start + len(name), "piece") if name else None
    return next((each for each in pieces if _HEAD.match(text, 0, each.end + 1)), None)


def _labelled(asked: FieldQuery, view: TextView) -> ValueCandidate | None:
    """What stands behind the field's own name and a colon in this row, to the next comma."""
    matches = match_words(asked, view)
    for n, word in enumerate(view.words):
        if matches[:, n].max(initial=0.0) >= 0.8:
            behind = re.compile(r"\s?[:=]\s*([^,;|\n]+)").match(view.text, word.end)
            if behind:
                item = behind[1].strip(' ."')
                start = behind.start(1) + behind[1].index(item)
                return ValueCandidate(item, start, start + len(item), "labelled")
    return None


def _left_over(text: str, filled: list[FilledField]) -> list[ValueCandidate]:
    """The parts of a row between the values that were found, without counts, marks and units."""
    spans = sorted(
        (each.start, each.end)
        for each in filled
        if isinstance(each.value, int | float | str) and not isinstance(each.value, bool)
    )
    cuts, at = [], 0
    for start, end in spans:
        cuts.append((at, start))
        at = max(at, end)
    cuts.append((at, len(text)))
    pieces = []
    for start, end in cuts:
        for match in re.finditer(r"(?:(?!\s{2,}|[,;|@:(]\s|\s[-–—]\s|\s\().)+", text[start:end]):
            bare = _NO_NAME.sub("", match[0])
            bare = _NO_NAME.sub("", bare).strip(" \"“”„'")
            if sum(char.isalpha() for char in bare) >= 2:
                begin = start + match.start() + match[0].index(bare)
                pieces.append(ValueCandidate(bare, begin, begin + len(bare), "piece"))
    return pieces


def _read_table(asked: list[FieldQuery], schema: Schema, text: str, language: str) -> list[FilledRow]:
    """The rows under a header whose cells name at least two of the fields."""
    lines = [(match.start(), match[0]) for match in re.finditer(r"[^\n]+", text)]
    for n, (_, line) in enumerate(lines):
        columns = _columns(asked, line)
        if len(columns) < min(2, len(asked)) or len(columns) < len([each for each in asked if each.field.is_required]):
            continue
        rows = []
        for start, following in lines[n + 1 :]:
            if _RULE.match(following):
                continue
            cells = _cells(following)
            row = _read_cells(asked, schema, columns, cells, language) if len(cells) == len(_cells(line)) else None
            if row is None:
                break
            rows.append(FilledRow(row, start, start + len(following), _TABLE))
        if rows:
            return rows
    return []


def _cells(line: str) -> list[tuple[int, str]]:
    cells, start = [], 0
    for match in _CELL.finditer(line):
        cells.append((start, line[start : match.start()]))
        start = match.end()
    cells.append((start, line[start:]))
    if len(cells) == 1 and line.count(",") >= 1 and ", " not in line:
        start, cells = 0, []
        for part in line.split(","):
            cells.append((start, part))
            start += len(part) + 1
    return [cell for n, cell in enumerate(cells) if cell[1].strip() or 0 < n < len(cells) - 1]


def _columns(asked: list[FieldQuery], line: str) -> dict[int, int]:
    """From the number of a field to that of the cell that names it."""
    columns: dict[int, int] = {}
    cells = _cells(line)
    if len(cells) < 2 or any(re.search(r"\d[.,]\d", cell) for _, cell in cells):
        return {}
    for n, each in enumerate(asked):
        names = {stem(term.folded) for term in each.terms if term.weight == 1.0}
        for m, (_, cell) in enumerate(cells):
            words = {stem(word) for word in re.findall(r"[^\W_]+", cell)}
            known = {concept for word in words for concept in concepts_by_word().get(word, ())}
            if m not in columns.values() and (names & words or (each.concepts & known and len(words) <= 2)):
                columns[n] = m
                break
    return columns


def _read_cells(
    asked: list[FieldQuery], schema: Schema, columns: dict[int, int], cells: list[tuple[int, str]], language: str
) -> dict[str, Any] | None:
    """The object of one line of a table; None where the line is none of its rows."""
    value: dict[str, Any] = {}
    for n, each in enumerate(asked):
        if n not in columns:
            continue
        cell = cells[columns[n]][1].strip()
        if each.family == "string":
            found: Any = cell or None
        else:
            candidates = TextValues(cell, language).candidates(each, schema)
            found = candidates[0].value if candidates else None
        if found is None and not each.field.is_nullable:
            return None
        value[each.field.name] = found
    return value
