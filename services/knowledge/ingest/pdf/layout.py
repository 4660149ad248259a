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
from tidegate.services.knowledge.ingest.ocr.engine import is_installed
from tidegate.services.knowledge.ingest.parts import IngestedText, Part, TablePart, spans_of_pages, write_markdown
from tidegate.services.knowledge.ingest.pdf.aligned_tables import read_run, split_runs
from tidegate.services.knowledge.ingest.pdf.lines import PdfLine, build_lines, find_running_lines, is_contents_entry
from tidegate.services.knowledge.ingest.pdf.pages import PdfFile, PdfPage, PdfWord
from tidegate.services.knowledge.ingest.pdf.paragraphs import PartBuilder, Typography
from tidegate.services.knowledge.ingest.pdf.ruled_tables import find_ruled_tables
from tidegate.services.knowledge.ingest.pdf.scans import OnPage, ScannedPages, read_scans

MOST_PAGES = 2000
_LARGER = 1.12
_MOST_HEADING_WORDS = 14
_NO_TITLE = re.compile(
    r"untitled|\(?anonymous\)?|microsoft \w+ - .*|.*\.(?:docx?|pdf|indd|tex|odt|rtf|xlsx?)", re.IGNORECASE
)
_DATE = re.compile(r"D:(\d{4})(\d\d)(\d\d)")

Element = PdfLine | TablePart


def read_pdf(data: bytes, on_page: OnPage = lambda _done, _pages: None) -> IngestedText:
    """A PDF as Markdown. `on_page` hears of pages that are recognised. Raises `FileUnreadError` where nothing in it can
    be read."""
    file = PdfFile(data)
    if len(file) > MOST_PAGES:
        raise FileUnreadError(f"it has {len(file)} pages; {MOST_PAGES} are the most that are read", "split it")
    found = read_scans(file, list(file.pages()), on_page)
    markdown, starts = lay_out(found.pages)
    if not markdown.strip():
        raise FileUnreadError(*_why_empty(found))
    about = file.metadata()
    title = about.get("Title", "").strip()
    date = _DATE.match(about.get("ModDate", "") or about.get("CreationDate", ""))
    return IngestedText(
        text=markdown,
        title="" if _NO_TITLE.fullmatch(title) else title,
        date="-".join(date.groups()) if date else "",
        page_starts=(0, *starts),
        recognised=spans_of_pages(found.recognised, starts, len(markdown)),
        notes=found.notes,
    )


def lay_out(pages: Sequence[PdfPage]) -> tuple[str, tuple[int, ...]]:
    """What the words and the lines of pages make, as Markdown, and where in it pages begin, from the second on."""
    return write_markdown(_build(pages, [_elements(page) if not page.is_garbled else [] for page in pages]))


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


def _why_empty(found: ScannedPages) -> tuple[str, str]:
    if found.notes:
        hint = found.notes[0].hint if not is_installed() else "scan it again, larger or with more contrast"
        return "nothing in it can be read: " + "; ".join(note.reason for note in found.notes), hint
    return "there is no text in it", "take it away"
