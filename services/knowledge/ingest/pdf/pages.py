"""The words and the drawn lines of each page of a PDF, by PDFium: the one module that knows it.

Promises coordinates in points, upwards, in which text runs from left to right. Next: lines.py, ruled_tables.py.
"""

from __future__ import annotations

import ctypes
import math
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pypdfium2
from pypdfium2 import raw

from tidegate.services.knowledge.ingest.errors import FileUnreadError
from tidegate.services.knowledge.ingest.ocr.engine import MOST_PIXELS, PictureUnreadError
from tidegate.services.knowledge.ingest.pdf.seen import Box as _Box
from tidegate.services.knowledge.ingest.pdf.seen import SeenText

_HYPHENS = frozenset("\x02\ufffe\u00ad")
"""How PDFium gives a hyphen that ends a line."""
_UNSEEN = frozenset("\x00\u200b\u200c\u200d\ufeff")
_LEAST_OVERLAP = 0.4
_WIDEST_CHARACTER = 1.6
"""Of the size, on average: characters that take more are not one word."""
_BULLETS = "\uf0b7\uf0a7\uf0d8\uf0fc"
_MOST_SEGMENTS = 400
_MOST_PATHS = 20_000
_SHORTEST_RULING = 6.0
_MOST_CHARACTERS = 100_000
_LEAST_SIZE = 1.5
"""Points: smaller characters nobody sees on a page as it is printed."""
_DRAWN_DPI = 200.0
_MOST_DRAWN_PIXELS = 6_000_000


class PdfWord(msgspec.Struct, frozen=True, gc=False):
    """A word with its box. One that ends with a hyphen that only the end of the line put there ends with U+00AD."""

    text: str
    x0: float
    x1: float
    y0: float
    y1: float
    size: float
    is_bold: bool


class Ruling(msgspec.Struct, frozen=True, gc=False):
    """A drawn line: `at` is its height where it `is_horizontal`, else how far right it is."""

    is_horizontal: bool
    at: float
    start: float
    end: float


class PdfPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page; `picture_share` of it is covered by pictures; `is_garbled` where its characters have no meaning given."""

    bottom: float
    top: float
    words: tuple[PdfWord, ...]
    rulings: tuple[Ruling, ...]
    picture_share: float
    is_garbled: bool


class PdfFile:
    """An open PDF. Raises `FileUnreadError` for one that is protected or broken."""

    def __init__(self, data: bytes) -> None:
        try:
            self._document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            if "password" in str(error).lower():
                raise FileUnreadError("it is protected by a password", "save a copy without one") from error
            raise FileUnreadError("it is no PDF that can be opened: it is broken or cut short") from error

    def __len__(self) -> int:
        return len(self._document)

    def metadata(self) -> dict[str, str]:
        """`Title`, `ModDate` and so on, as they stand in the file."""
        found: dict[str, str] = self._document.get_metadata_dict()
        return found

    def pages(self) -> Iterator[PdfPage]:
        """Each page; one that cannot be read is empty."""
        for number in range(len(self)):
            try:
                page = self._document[number]
            except pypdfium2.PdfiumError:
                yield PdfPage(bottom=0, top=0, words=(), rulings=(), picture_share=0.0, is_garbled=True)
                continue
            yield _read_page(page)
            page.close()

    def draw(self, number: int) -> Any:
        """The picture of a page as it is shown, as PIL has it.

        Raises `PictureUnreadError` for one that cannot be drawn within bounds.
        """
        try:
            page = self._document[number]
            stored = max((math.prod(image.get_px_size()) for image in _pictures(page)), default=0)
            width, height = page.get_size()
            scale = min(_DRAWN_DPI / 72, math.sqrt(_MOST_DRAWN_PIXELS / max(1.0, width * height)))
            drawn = page.render(scale=scale).to_pil() if stored <= MOST_PIXELS else None
        except (pypdfium2.PdfiumError, ValueError) as error:
            raise PictureUnreadError("cannot be drawn") from error
        if drawn is None:
            raise PictureUnreadError(f"holds a picture of more than {MOST_PIXELS // 1_000_000} megapixels")
        return drawn


def _read_page(page: Any) -> PdfPage:
    left, bottom, right, top = page.get_mediabox()
    words, angles, unmapped = _read_words(page, (left, bottom, right, top))
    turn = angles.most_common(1)[0][0] if angles else 0
    corners = [_turn((left, bottom, right, top), turn)]
    straight = tuple(_turn_word(word, turn) for word, angle in words if angle == turn)
    characters = sum(len(word.text) for word, _ in words)
    return PdfPage(
        bottom=corners[0][1],
        top=corners[0][3],
        words=straight,
        rulings=tuple(_rulings(page, turn)),
        picture_share=_picture_share(page, (right - left) * (top - bottom)),
        is_garbled=unmapped * 3 > characters + unmapped,
    )


def _read_words(page: Any, edges: _Box) -> tuple[list[tuple[PdfWord, int]], Counter[int], int]:
    """The words that can be seen, each with the quarter turns of its text; how many characters each turn has; how many
    mean nothing."""
    textpage = page.get_textpage()
    measure, seen = _WordMeasure(textpage), SeenText(page, textpage)
    words: list[tuple[PdfWord, int]] = []
    angles: Counter[int] = Counter()
    unmapped = 0
    characters: list[str] = []
    count = min(textpage.count_chars(), _MOST_CHARACTERS)
    for index in range(count + 1):
        character = chr(raw.FPDFText_GetUnicode(textpage, index) or 0xFFFD) if index < count else " "
        is_letter = not (character.isspace() or character in _UNSEEN)
        if is_letter and seen.is_seen(index, measure.box):
            characters.append(character)
            unmapped += character == "\ufffd" or ("\ue000" <= character <= "\uf8ff" and character not in _BULLETS)
        elif characters:
            start = index - len(characters)
            for word, turn in measure.words(start, characters):
                if not _is_visible(word, edges) or seen.is_covered(start, (word.x0, word.y0, word.x1, word.y1)):
                    continue
                words.append((word, turn))
                angles[turn] += len(word.text)
            characters = []
    return words, angles, unmapped


def _is_visible(word: PdfWord, page: _Box) -> bool:
    """Whether a word stands on the page, large enough to be seen."""
    left, bottom, right, top = page
    return word.size >= _LEAST_SIZE and word.x1 > left and word.x0 < right and word.y1 > bottom and word.y0 < top


class _WordMeasure:
    """Finds where characters stand and how they look."""

    def __init__(self, textpage: Any) -> None:
        self._textpage = textpage
        self._rect = raw.FS_RECTF()
        self._matrix = raw.FS_MATRIX()
        self._flags = ctypes.c_int()
        self._name = ctypes.create_string_buffer(128)

    def words(self, start: int, characters: list[str]) -> Iterator[tuple[PdfWord, int]]:
        """The characters from `start` on, which no space parts: one word, unless they do not stand side by side."""
        first, last = self.box(start), self.box(start + len(characters) - 1)
        size, turn, is_bold = self._look(start)
        overlap = min(first[3], last[3]) - max(first[1], last[1])
        is_level = turn or overlap > _LEAST_OVERLAP * min(first[3] - first[1], last[3] - last[1])
        if is_level and (turn or last[2] - first[0] < _WIDEST_CHARACTER * size * len(characters)):
            text = unicodedata.normalize("NFC", "".join(map(_readable, characters)))
            x0, y0 = min(first[0], last[0]), min(first[1], last[1])
            yield PdfWord(text, x0, max(first[2], last[2]), y0, max(first[3], last[3]), size, is_bold), turn
        elif len(characters) > 1:
            middle = self._find_cut(start, len(characters))
            yield from self.words(start, characters[:middle])
            yield from self.words(start + middle, characters[middle:])

    def _find_cut(self, start: int, count: int) -> int:
        """Where the greatest step between two neighbours is."""
        boxes = [self.box(start + offset) for offset in range(count)]
        steps = [abs(after[0] - before[2]) + abs(after[1] - before[1]) for before, after in pairwise(boxes)]
        return 1 + max(range(len(steps)), key=steps.__getitem__)

    def box(self, index: int) -> _Box:
        """Where a character stands."""
        raw.FPDFText_GetLooseCharBox(self._textpage, index, self._rect)
        return self._rect.left, self._rect.bottom, self._rect.right, self._rect.top

    def _look(self, index: int) -> tuple[float, int, bool]:
        """The size in points, the quarter turns and whether it is bold."""
        raw.FPDFText_GetMatrix(self._textpage, index, self._matrix)
        matrix = self._matrix
        size = raw.FPDFText_GetFontSize(self._textpage, index) * (math.hypot(matrix.c, matrix.d) or 1.0)
        turn = round(math.atan2(matrix.b, matrix.a) / (math.pi / 2)) % 4
        raw.FPDFText_GetFontInfo(self._textpage, index, self._name, 128, self._flags)
        name = self._name.value.lower()
        is_bold = b"bold" in name or b"black" in name or b"heavy" in name
        return round(size, 1), turn, is_bold or raw.FPDFText_GetFontWeight(self._textpage, index) >= 600


def _readable(character: str) -> str:
    if "\ufb00" <= character <= "\ufb06":
        return unicodedata.normalize("NFKC", character)
    return "\u00ad" if character in _HYPHENS else character


def _turn(box: _Box, turn: int) -> _Box:
    """A box as it lies when the page is turned so that text, which runs at `turn` quarters, runs to the right."""
    left, bottom, right, top = box
    match turn:
        case 1:
            return bottom, -right, top, -left
        case 2:
            return -right, -top, -left, -bottom
        case 3:
            return -top, left, -bottom, right
        case _:
            return box


def _turn_word(word: PdfWord, turn: int) -> PdfWord:
    if not turn:
        return word
    x0, y0, x1, y1 = _turn((word.x0, word.y0, word.x1, word.y1), turn)
    return PdfWord(word.text, x0, x1, y0, y1, word.size, word.is_bold)


def _rulings(page: Any, turn: int) -> Iterator[Ruling]:
    """The straight lines and the edges of the boxes that are drawn on the page."""
    for count, path in enumerate(page.get_objects(filter=[raw.FPDF_PAGEOBJ_PATH], max_depth=1)):
        if count > _MOST_PATHS:
            return
        points = _points(path)
        for (x0, y0), (x1, y1) in points:
            left, bottom, right, top = _turn((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), turn)
            if top - bottom < 1.0 and right - left > _SHORTEST_RULING:
                yield Ruling(True, (top + bottom) / 2, left, right)
            elif right - left < 1.0 and top - bottom > _SHORTEST_RULING:
                yield Ruling(False, (left + right) / 2, bottom, top)


def _points(path: Any) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """The straight pieces of a path, on the page."""
    count = raw.FPDFPath_CountSegments(path)
    if not 2 <= count <= _MOST_SEGMENTS:
        return
    matrix = path.get_matrix()
    x, y = ctypes.c_float(), ctypes.c_float()
    start = previous = (0.0, 0.0)
    for index in range(count):
        segment = raw.FPDFPath_GetPathSegment(path, index)
        raw.FPDFPathSegment_GetPoint(segment, x, y)
        point = matrix.on_point(x.value, y.value)
        kind = raw.FPDFPathSegment_GetType(segment)
        if kind == raw.FPDF_SEGMENT_MOVETO:
            start = point
        elif kind == raw.FPDF_SEGMENT_LINETO:
            yield previous, point
        if raw.FPDFPathSegment_GetClose(segment):
            yield point, start
        previous = point


def _picture_share(page: Any, area: float) -> float:
    """Of the page, what its pictures cover; some programs cut a scan into strips."""
    covered = 0.0
    for image in _pictures(page):
        left, bottom, right, top = image.get_bounds()
        covered += (right - left) * (top - bottom)
    return covered / max(1.0, area)


def _pictures(page: Any) -> Iterator[Any]:
    yield from page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3)
