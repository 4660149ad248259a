"""The words of a picture as those of a PDF's page, so that one layout makes headings, lists and tables of both.

Promises the reading order of the picture's lines. Next: services/knowledge/ingest/ocr/recognition.py, layout.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tidegate.services.knowledge.ingest.ocr.look import find_body, find_bold, settle_sizes
from tidegate.services.knowledge.ingest.ocr.recognition import PictureLine, PictureText
from tidegate.services.knowledge.ingest.ocr.rulings import PictureRuling
from tidegate.services.knowledge.ingest.pdf.pages import PdfPage, PdfWord, Ruling

_ABOVE_SIZE = 0.6
"""Of the size: how far a word's box goes up and down from the middle of its line."""
_WIDE_GAP = 1.6
"""Of the size, between the middles of two characters that no space parts: they are of two cells."""
_CUT_WORD = re.compile(r"(?<=[^\W\d_])-$")


def page_of(text: PictureText, body: float) -> PdfPage:
    """The page that a picture shows, in points by which most of it is set in the size `body`."""
    texts = [line.read.text for line in text.lines]
    looks = [line.look for line in text.lines]
    sizes, bold = settle_sizes(looks, texts), find_bold(looks, texts)
    pixels = find_body(looks, texts)
    words = [
        _scale(word, text.height, body / pixels)
        for line, size, is_bold in zip(text.lines, sizes, bold, strict=True)
        for word in _words(line, size * pixels, is_bold)
    ]
    return PdfPage(
        bottom=0.0,
        top=text.height * body / pixels,
        words=tuple(words),
        rulings=tuple(_scale_ruling(ruling, text.height, body / pixels) for ruling in text.rulings),
        picture_share=0.0,
        is_garbled=False,
    )


def _words(line: PictureLine, size: float, is_bold: bool) -> Iterator[PdfWord]:
    """The words, in pixels from the top left: `y0` is above `y1`."""
    box, positions = line.box, iter(line.read.positions)
    middle, width = (box.y0 + box.y1) / 2, box.x1 - box.x0
    pieces = line.read.text.split()
    for number, piece in enumerate(pieces):
        places = [box.x0 + width * next(positions, 1.0) for _ in piece]
        ends = [at for at in range(1, len(places)) if places[at] - places[at - 1] > _WIDE_GAP * size]
        for start, end in zip([0, *ends], [*ends, len(piece)], strict=True):
            half = (places[end - 1] - places[start]) / (2 * max(1, end - start - 1)) if end - start > 1 else size / 4
            part = piece[start:end]
            is_last = number == len(pieces) - 1 and end == len(piece)
            yield PdfWord(
                _CUT_WORD.sub("\u00ad", part) if is_last else part,
                places[start] - half,
                places[end - 1] + half,
                middle - _ABOVE_SIZE * size,
                middle + _ABOVE_SIZE * size,
                size,
                is_bold,
            )


def _scale(word: PdfWord, height: int, points_per_pixel: float) -> PdfWord:
    x0, x1 = word.x0 * points_per_pixel, word.x1 * points_per_pixel
    y0, y1 = (height - word.y1) * points_per_pixel, (height - word.y0) * points_per_pixel
    return PdfWord(word.text, x0, x1, y0, y1, word.size * points_per_pixel, word.is_bold)


def _scale_ruling(ruling: PictureRuling, height: int, points_per_pixel: float) -> Ruling:
    at = height - ruling.at if ruling.is_level else ruling.at
    ends = (ruling.start, ruling.end) if ruling.is_level else (height - ruling.end, height - ruling.start)
    return Ruling(ruling.is_level, at * points_per_pixel, ends[0] * points_per_pixel, ends[1] * points_per_pixel)
