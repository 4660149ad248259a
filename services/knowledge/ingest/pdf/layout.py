"""What the lines of a PDF make: headings, paragraphs, items and tables, with the pages they are on.

Promises that running headers, footers and page numbers are not in the text. Next: pages.py, lines.py, paragraphs.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from statistics import median

from tidegate.services.knowledge.ingest.errors import FileUnreadError
from tidegate.services.knowledge.ingest.parts import IngestedText, Part, TablePart, write_markdown
from tidegate.services.knowledge.ingest.pdf.aligned_tables import read_run, split_runs
from tidegate.services.knowledge.ingest.pdf.lines import PdfLine, build_lines, find_running_lines, is_contents_entry
from tidegate.services.knowledge.ingest.pdf.pages import PdfFile, PdfPage, PdfWord
from tidegate.services.knowledge.ingest.pdf.paragraphs import PartBuilder, Typography
from tidegate.services.knowledge.ingest.pdf.ruled_tables import find_ruled_tables

MOST_PAGES = 2000
_SCANNED_BELOW = 20
"""Characters of text on a page that a picture covers: with fewer the page is a scan."""
_LARGER = 1.12
_MOST_HEADING_WORDS = 14
_NO_TITLE = re.compile(
    r"untitled|\(?anonymous\)?|microsoft \w+ - .*|.*\.(?:docx?|pdf|indd|tex|odt|rtf|xlsx?)", re.IGNORECASE
)
_DATE = re.compile(r"D:(\d{4})(\d\d)(\d\d)")

Element = PdfLine | TablePart


def read_pdf(data: bytes) -> IngestedText:
    """A PDF as Markdown. Raises `FileUnreadError` where nothing in it can be read."""
    file = PdfFile(data)
    if len(file) > MOST_PAGES:
        raise FileUnreadError(f"it has {len(file)} pages; {MOST_PAGES} are the most that are read", "split it")
    pages = list(file.pages())
    notes = tuple(_name_unread(pages))
    elements = [_elements(page) if not _is_unread(page) else [] for page in pages]
    markdown, starts = write_markdown(_build(pages, elements))
    if not markdown.strip():
        raise FileUnreadError(*_why_empty(pages))
    about = file.metadata()
    title = about.get("Title", "").strip()
    date = _DATE.match(about.get("ModDate", "") or about.get("CreationDate", ""))
    return IngestedText(
        text=markdown,
        title="" if _NO_TITLE.fullmatch(title) else title,
        date="-".join(date.groups()) if date else "",
        page_starts=(0, *starts),
        notes=notes,
    )


def _elements(page: PdfPage) -> list[Element]:
    """The lines and the ruled tables of a page; a table stands where its first word does."""
    table_of = {position: table for table in find_ruled_tables(page) for position in table.words}
    found: list[Element] = []
    free: list[PdfWord] = []
    written: set[int] = set()
    for position, word in enumerate(page.words):
        table = table_of.get(position)
        if table is None:
            free.append(word)
        elif id(table) not in written:
            found += build_lines(free)
            free = []
            written.add(id(table))
            found.append(table.part)
    return [*found, *build_lines(free)]


def _build(pages: Sequence[PdfPage], elements: Sequence[Sequence[Element]]) -> list[Part]:
    lines = [[each for each in found if isinstance(each, PdfLine)] for found in elements]
    running, stated = find_running_lines(list(zip(pages, lines, strict=True)))
    kept = [
        [each for each in found if id(each) not in running and not _is_contents(each, len(pages))] for found in elements
    ]
    builder = PartBuilder(_measure(kept))
    for line in stated:
        builder.add_line(line)
    for found in kept:
        builder.begin_page([each for each in found if isinstance(each, PdfLine)])
        for element in _read_runs(found):
            if isinstance(element, TablePart):
                builder.add_table(element)
            else:
                builder.add_line(element)
        builder.end_page()
    return builder.finish()


def _read_runs(elements: Sequence[Element]) -> Iterator[Element]:
    """The elements, with the tables among them that only alignment shows."""
    for is_line, group in groupby(elements, key=lambda each: isinstance(each, PdfLine)):
        alike = list(group)
        if not is_line:
            yield from alike
            continue
        for run in split_runs([each for each in alike if isinstance(each, PdfLine)]):
            read = read_run(run) if len(run) > 1 else run
            yield from (read,) if isinstance(read, TablePart) else read


def _is_contents(element: Element, pages: int) -> bool:
    return isinstance(element, PdfLine) and is_contents_entry(element, pages)


def _measure(elements: Sequence[Sequence[Element]]) -> Typography:
    """The size of the body, whether it is bold, its leading, and the sizes of headings, greatest first."""
    lines = [each for found in elements for each in found if isinstance(each, PdfLine)]
    sizes: Counter[tuple[float, bool]] = Counter()
    for line in lines:
        sizes[round(line.size * 2) / 2, line.is_bold] += len(line.text)
    body, is_bold = sizes.most_common(1)[0][0] if sizes else (10.0, False)
    gaps = [
        before.y0 - after.y1
        for found in elements
        for before, after in pairwise(found)
        if isinstance(before, PdfLine) and isinstance(after, PdfLine) and -body < before.y0 - after.y1 < 1.5 * body
    ]
    larger = {round(line.size * 2) / 2 for line in lines if line.size > _LARGER * body and _is_short(line)}
    return Typography(
        body=body,
        is_bold=is_bold,
        leading=median(gaps) if gaps else 0.0,
        heading_sizes=tuple(sorted(larger, reverse=True)),
    )


def _is_short(line: PdfLine) -> bool:
    return len(line.text.split()) <= _MOST_HEADING_WORDS


def _is_unread(page: PdfPage) -> bool:
    return page.is_garbled or (page.is_image and sum(len(word.text) for word in page.words) < _SCANNED_BELOW)


def _name_unread(pages: Sequence[PdfPage]) -> Iterator[str]:
    scanned = [number for number, page in enumerate(pages, start=1) if _is_unread(page) and not page.is_garbled]
    garbled = [number for number, page in enumerate(pages, start=1) if page.is_garbled]
    if scanned:
        yield f"{_list_pages(scanned)} only scanned: pictures of text are not read"
    if garbled:
        yield f"{_list_pages(garbled)} not readable: the fonts do not state which letters they show"


def _list_pages(numbers: Sequence[int]) -> str:
    """`page 3 is`, `pages 3, 5-9 are`."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    listed = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
    return f"page {listed} is" if len(numbers) == 1 else f"pages {listed} are"


def _why_empty(pages: Sequence[PdfPage]) -> tuple[str, str]:
    if any(_is_unread(page) and not page.is_garbled for page in pages):
        return "it holds only scanned pages, pictures of text", "run a text recognition over it, for example ocrmypdf"
    if any(page.is_garbled for page in pages):
        return "its fonts do not state which letters they show", "export it again, or run ocrmypdf --force-ocr over it"
    return "there is no text in it", "take it away"
