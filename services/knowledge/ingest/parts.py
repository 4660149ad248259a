"""What a document is made of, whatever it was written in, and how that is written as Markdown.

A form feed in a part's text marks where a page begins. Next: read.py; services/knowledge/index/markdown.py reads it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

import msgspec

from tidegate.schemas.answer import CharacterSpan
from tidegate.services.knowledge.ingest.unseen import without_unseen

PAGE_BREAK = "\f"
_ESCAPED = re.compile(r"\\|[*`]|<(?=[A-Za-z/!?])|~(?=~)|(?<=\[)\^|&(?=#?\w+;)|(?<!\w)_|_(?!\w)|(?<=\])[\[(:]")
_BLOCK_MARK = re.compile(r"(#{1,6}(?=\s|$)|[-+](?=\s|$)|>|=+\s*$|-{2,}\s*$|\||\[(?=[ xX]\]\s))|(\d{1,9})([.)])(?=\s|$)")
_DEEPEST_ITEM = 6
_ASTERISKS = re.compile(r"\*{2,}")
_CLOSING = re.compile(r"(?<!\S)#(?=#*$)")
_SPACES = re.compile(r"[^\S\f]+")
_BESIDE_BREAK = re.compile(r" ?\f ?")
_VALUE = re.compile(r"\W*\d[\d\s.,:/%-]*\W*(?:[A-Za-z%€£$]{1,3})?\W*|[-–—]|[\w-]*\d[\w./-]*")
_YEAR = re.compile(r"(?:19|20)\d\d")


class HeadingPart(msgspec.Struct, frozen=True):
    """A heading; `level` counts from 1, for the outermost."""

    level: int
    text: str


class TextPart(msgspec.Struct, frozen=True):
    """A paragraph."""

    text: str


class ItemPart(msgspec.Struct, frozen=True):
    """An item of a list: `number` is its own, 0 where it has a bullet; `depth` counts from 0."""

    text: str
    number: int = 0
    depth: int = 0


class TablePart(msgspec.Struct, frozen=True):
    """A table; where it `has_header`, that is its first row."""

    rows: tuple[tuple[str, ...], ...]
    has_header: bool


Part = HeadingPart | TextPart | ItemPart | TablePart


class FileNote(msgspec.Struct, frozen=True):
    """What is to be known about a file that was read, and what to do about it."""

    reason: str
    hint: str = "nothing is answered from what is not read"


class IngestedText(msgspec.Struct, frozen=True, kw_only=True):
    """A document as Markdown. Page n begins at character `page_starts[n - 1]`; there are none where it has no pages.
    `recognised` are the characters that were recognised in a picture, from first to before last.

    `title` and `date` (ISO 8601) are what the file states about itself. `notes` say what was not read of it, and why,
    and what was recognised in pictures.
    """

    text: str
    title: str = ""
    date: str = ""
    page_starts: tuple[int, ...] = ()
    recognised: tuple[CharacterSpan, ...] = ()
    notes: tuple[FileNote, ...] = ()


def write_markdown(parts: Iterable[Part]) -> tuple[str, tuple[int, ...]]:
    """The parts as Markdown that reads as they do, and where the marks of pages stood in it."""
    blocks: list[str] = []
    previous: Part | None = None
    depth, marks = -1, ""
    for part in parts:
        depth = min(part.depth, depth + 1, _DEEPEST_ITEM) if isinstance(part, ItemPart) else -1
        if not _has_words(part):
            marks += PAGE_BREAK * sum(text.count(PAGE_BREAK) for text in _texts(part))
            continue
        block, marks = marks + _write(part, depth), ""
        is_list = isinstance(part, ItemPart) and isinstance(previous, ItemPart)
        blocks.append(("\n" if is_list else "\n\n") + block if blocks else block)
        previous = part
    pieces = "".join(blocks).split(PAGE_BREAK)
    starts: list[int] = []
    length = 0
    for piece in pieces[:-1]:
        length += len(piece)
        starts.append(length)
    return "".join(pieces), tuple(starts)


def spans_of_pages(pages: Collection[int], starts: Sequence[int], length: int) -> tuple[CharacterSpan, ...]:
    """The characters of those pages, which count from 0, in a text of that length; `starts` are as `write_markdown`
    gives them: none of the empty pages at the end. Pages that follow one another are one span, an empty page is none.
    """
    begins = (0, *starts)
    spans: list[CharacterSpan] = []
    for page in sorted(pages):
        start, end = (begins[number] if number < len(begins) else length for number in (page, page + 1))
        if spans and spans[-1][1] == start:
            start = spans.pop()[0]
        if start < end:
            spans.append((start, end))
    return tuple(spans)


def tidy(text: str) -> str:
    """A text in one line, without characters that nobody sees, its marks of pages kept where a word begins."""
    return _BESIDE_BREAK.sub(" \f", _SPACES.sub(" ", without_unseen(text))).strip(" ")


def looks_like_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns: it has words in each, no value, and a value or other words below. Over
    the names of the rows nothing need stand, where all rows have one and values follow it."""
    if len(rows) < 2 or not all(cell.strip() for cell in rows[0][1:]) or len(rows[0]) < 2:
        return False
    first, body = rows[0], rows[1:]
    if not first[0].strip():
        has_names = all(row[0].strip() and not is_value(row[0]) for row in body)
        if not has_names or not all(any(map(is_value, row[1:])) for row in body):
            return False
    if any(is_value(cell) and not _YEAR.fullmatch(cell.strip()) for cell in first) or len(set(first)) < len(first):
        return False
    has_values = any(is_value(row[column]) for row in body for column in range(1, len(row)))
    return len(first) > 2 or (has_values and not _is_pair(first))


def is_value(cell: str) -> bool:
    """Whether a cell holds an amount, a date, a share or a number rather than words."""
    return bool(_VALUE.fullmatch(cell.strip()))


def _is_pair(row: Sequence[str]) -> bool:
    """Whether a row of two is a name with its own value, as `Monthly fee | none`: long, or with a colon."""
    return row[0].rstrip().endswith(":") or any(len(cell.split()) > 5 for cell in row)


def _has_words(part: Part) -> bool:
    return any(text.strip() for text in _texts(part))


def _texts(part: Part) -> list[str]:
    return [cell for row in part.rows for cell in row] if isinstance(part, TablePart) else [part.text]


def _write(part: Part, depth: int) -> str:
    match part:
        case HeadingPart(level, text):
            words = _CLOSING.sub("\\\\#", _escape(text))
            return f"{'#' * min(level, 6)} {words}"
        case TextPart(text):
            return _escape_start(_escape(text))
        case ItemPart(text, number):
            return f"{'   ' * depth}{f'{number}.' if number else '-'} {_escape_start(_escape(text))}"
        case TablePart(rows, has_header):
            return _write_table(rows, has_header)


def _write_table(rows: Sequence[Sequence[str]], has_header: bool) -> str:
    width = max(map(len, rows))
    header, body = (rows[0], rows[1:]) if has_header else ([""] * width, rows)
    rule = "|" + "---|" * width
    return "\n".join((_write_row(header, width), rule, *(_write_row(row, width) for row in body)))


def _write_row(row: Sequence[str], width: int) -> str:
    """A row that begins a page, or in which one begins, has the mark before it: a row is cited whole."""
    cells = [_escape(cell.replace(PAGE_BREAK, "")).replace("|", "\\|") for cell in row]
    marks = PAGE_BREAK * sum(cell.count(PAGE_BREAK) for cell in row)
    return f"{marks}| {' | '.join(cells + [''] * (width - len(cells)))} |"


def _escape(text: str) -> str:
    """Two asterisks become one: a reader of answers takes two for a mark of bold type, escaped or not."""
    return _ESCAPED.sub(r"\\\g<0>", _ASTERISKS.sub("*", tidy(text)))


def _escape_start(text: str) -> str:
    """What would make the line a heading, an item, a box to tick, a quotation or a rule becomes plain characters."""
    body = text.lstrip(PAGE_BREAK)
    found = _BLOCK_MARK.match(body)
    if found is None:
        return text
    mark = f"\\{found[1]}" if found[1] else f"{found[2]}\\{found[3]}"
    return text[: len(text) - len(body)] + mark + body[found.end() :]
