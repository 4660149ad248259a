"""The pages of a PDF that only a picture shows, or whose letters have no meaning given: read by text recognition.

Promises that a page is named where its text was recognised, and where it is not read, with the reason. Next:
services/knowledge/ingest/ocr/recognition.py, layout.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from tidegate.services.knowledge.ingest.ocr import engine
from tidegate.services.knowledge.ingest.ocr.engine import PictureUnreadError
from tidegate.services.knowledge.ingest.parts import FileNote
from tidegate.services.knowledge.ingest.pdf.pages import PdfFile, PdfPage

MOST_RECOGNISED_PAGES = 300
_LEAST_TEXT = 20
"""Characters of text; with fewer a page that a picture covers is a scan."""
_EDGE = 0.1
"""Share of the page, above and below: what programs that scan write there is not the page's text."""
_LEAST_PICTURE = 0.25
"""Share of the page that pictures cover on a scan."""
_USUAL_BODY = 10.0
COMPARE = "compare what matters with the page itself"
_WITHOUT = {
    False: "scanned: pictures of text are not read",
    True: "not readable: the fonts do not state which letters they show",
}
OnPage = Callable[[int, int], None]
"""Called with the number of pages that were recognised, and of those that are to be."""


class ScannedPages(msgspec.Struct, frozen=True):
    """The pages of a file, those among them that were `recognised` with the words that they show, and what to know of
    the file. Positions count from 0."""

    pages: Sequence[PdfPage]
    notes: tuple[FileNote, ...]
    recognised: tuple[int, ...] = ()


def read_scans(file: PdfFile, pages: Sequence[PdfPage], on_page: OnPage) -> ScannedPages:
    """The pages with the words of the scanned ones recognised, where the extra `vision` is there."""
    scanned = [number for number, page in enumerate(pages) if is_scanned(page)]
    if not scanned:
        return ScannedPages(pages, ())
    read = {number: _without_edges(page) if number in scanned else page for number, page in enumerate(pages)}
    if not engine.is_installed():
        return ScannedPages([*read.values()], tuple(_name_unread(pages, scanned)))
    why: dict[int, str] = {}
    body = _find_body([page for page in pages if not is_scanned(page)])
    for done, number in enumerate(scanned):
        on_page(done, len(scanned))
        if done >= MOST_RECOGNISED_PAGES:
            why[number] = f"comes after {MOST_RECOGNISED_PAGES} others that were recognised, the most in one file"
            continue
        try:
            read[number] = _recognise(file, number, body)
        except PictureUnreadError as error:
            why[number] = str(error)
        except MemoryError:
            why[number] = "takes more memory than it may"
    recognised = [number for number in scanned if number not in why]
    notes = [FileNote(f"{list_pages(recognised)} scanned: the text was recognised", COMPARE)] if recognised else []
    found = [read[number] for number in range(len(pages))]
    return ScannedPages(found, (*notes, *name_reasons(why)), tuple(recognised))


def name_reasons(reason_of: Mapping[int, str]) -> Iterator[FileNote]:
    """A note for each reason, with the pages that are not read for it; positions count from 0."""
    for reason in dict.fromkeys(reason_of.values()):
        numbers = [number for number, each in reason_of.items() if each == reason]
        yield FileNote(f"{list_pages(numbers)} not read: {'it' if len(numbers) == 1 else 'each'} {reason}")


def _recognise(file: PdfFile, number: int, body: float) -> PdfPage:
    """The page with the words that it shows. Raises `PictureUnreadError`."""
    from tidegate.services.knowledge.ingest.ocr.recognition import open_picture_reader
    from tidegate.services.knowledge.ingest.pdf.recognised import page_of

    return page_of(open_picture_reader().read(file.draw(number)), body)


def is_scanned(page: PdfPage) -> bool:
    """Whether the text of a page is to be recognised: its letters have no meaning given, or a picture shows them."""
    if page.is_garbled:
        return True
    inner = sum(len(word.text) for word in _without_edges(page).words)
    return page.picture_share > _LEAST_PICTURE and inner < _LEAST_TEXT


def _without_edges(page: PdfPage) -> PdfPage:
    """The page without what programs that scan write above and below its picture."""
    edge = _EDGE * (page.top - page.bottom)
    inner = tuple(word for word in page.words if page.bottom + edge < word.y0 and word.y1 < page.top - edge)
    return msgspec.structs.replace(page, words=inner)


def _find_body(pages: Sequence[PdfPage]) -> float:
    """The size that most of the text has which is not scanned: the scanned pages are taken to be set in it too."""
    sizes: Counter[float] = Counter()
    for page in pages:
        for word in page.words:
            sizes[word.size] += len(word.text)
    return sizes.most_common(1)[0][0] if sizes else _USUAL_BODY


def list_pages(positions: Sequence[int]) -> str:
    """`page 3 is`, `pages 3, 5-9 are`; positions count from 0."""
    ranges: list[list[int]] = []
    for number in (position + 1 for position in positions):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    listed = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
    return f"page {listed} is" if len(positions) == 1 else f"pages {listed} are"


def _name_unread(pages: Sequence[PdfPage], scanned: Sequence[int]) -> list[FileNote]:
    notes = []
    for is_garbled, words in _WITHOUT.items():
        numbers = [number for number in scanned if pages[number].is_garbled is is_garbled]
        if numbers:
            notes.append(FileNote(f"{list_pages(numbers)} {words}", engine.INSTALL))
    return notes
