"""Pictures of pages: PNG, JPEG and TIFF, of which each frame is a page. Next: ocr/recognition.py, pdf/layout.py."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from typing import Any

from tidegate.services.knowledge.ingest.errors import FileUnreadError
from tidegate.services.knowledge.ingest.ocr.engine import INSTALL, MOST_PIXELS, PictureUnreadError, is_installed
from tidegate.services.knowledge.ingest.parts import FileNote, IngestedText, spans_of_pages
from tidegate.services.knowledge.ingest.pdf.layout import lay_out
from tidegate.services.knowledge.ingest.pdf.pages import PdfPage
from tidegate.services.knowledge.ingest.pdf.scans import COMPARE, MOST_RECOGNISED_PAGES, OnPage, name_reasons

_FORMATS = ("PNG", "JPEG", "TIFF")
_MOST_READ = (3000, 3000)
"""Pixels; what is larger is made smaller: A4 at 260 dots an inch."""
_BODY = 10.0
"""Points: of most of the text of a picture; only the proportions matter."""
_EMPTY = PdfPage(bottom=0.0, top=0.0, words=(), rulings=(), picture_share=1.0, is_garbled=False)


def read_image(data: bytes, on_page: OnPage = lambda _done, _pages: None) -> IngestedText:
    """The text of the pages that a picture shows, as Markdown. Raises `FileUnreadError`."""
    if not is_installed():
        raise FileUnreadError("it is a picture: pictures of text are not read", INSTALL)
    pages: list[PdfPage] = []
    why: dict[int, str] = {}
    for number, (frame, frames) in enumerate(_frames(data)):
        on_page(number, frames)
        try:
            pages.append(_recognise(frame))
        except PictureUnreadError as error:
            pages.append(_EMPTY)
            why[number] = str(error)
    if len(why) == len(pages):
        raise FileUnreadError(f"it is a picture that {why[0]}", "scan it again, larger or with more contrast")
    markdown, starts = lay_out(pages)
    notes = (FileNote("it is a picture: the text was recognised", COMPARE), *name_reasons(why))
    recognised = spans_of_pages(range(len(pages)), starts, len(markdown))
    return IngestedText(
        text=markdown, page_starts=(0, *starts) if len(pages) > 1 else (), recognised=recognised, notes=notes
    )


def _recognise(frame: Any) -> PdfPage:
    from tidegate.services.knowledge.ingest.ocr.recognition import open_picture_reader
    from tidegate.services.knowledge.ingest.pdf.recognised import page_of

    return page_of(open_picture_reader().read(frame), _BODY)


def _frames(data: bytes) -> Iterator[tuple[Any, int]]:
    """The pictures in a file, as they are to be held, and how many there are. Raises `FileUnreadError`."""
    from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

    Image.init()  # TIFF is not among what Pillow knows at once
    Image.MAX_IMAGE_PIXELS = None  # checked below, before anything is unpacked
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            frames = (
                getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1
            )  # others have previews, or are animated
            if frames > MOST_RECOGNISED_PAGES:
                reason = f"it has {frames} pages; {MOST_RECOGNISED_PAGES} are the most that are recognised"
                raise FileUnreadError(reason, "split it")
            for frame in islice(ImageSequence.Iterator(picture), frames):
                if frame.width * frame.height > MOST_PIXELS:
                    size = f"{frame.width * frame.height // 1_000_000} megapixels"
                    raise FileUnreadError(
                        f"it has {size}; {MOST_PIXELS // 1_000_000} are the most that are read", "save it smaller"
                    )
                frame.draft("RGB", _MOST_READ)
                upright = ImageOps.exif_transpose(frame)
                upright.thumbnail(_MOST_READ)
                yield _on_white(upright), frames
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise FileUnreadError("it is no picture that can be opened: it is broken or cut short") from error


def _on_white(picture: Any) -> Any:
    """The picture with what is transparent in it white, as a page is."""
    from PIL import Image

    if picture.mode.startswith("I"):  # 16 bits of grey
        picture = picture.point(lambda value: value / 256).convert("L")
    if "A" in picture.getbands() or "transparency" in picture.info:
        page = Image.new("RGBA", picture.size, "white")
        page.alpha_composite(picture.convert("RGBA"))
        picture = page
    return picture.convert("RGB")
