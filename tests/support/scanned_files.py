"""Scans of pages that we write ourselves: pictures as a scanner would give them, and PDFs of such pictures."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pypdfium2
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import SimpleDocTemplate

SMALL = (330, 200)


def small_pdf(*story: Any) -> bytes:
    buffer = io.BytesIO()
    margins = dict.fromkeys(("leftMargin", "rightMargin", "topMargin", "bottomMargin"), 16)
    SimpleDocTemplate(buffer, pagesize=SMALL, **margins).build(list(story))
    return buffer.getvalue()


def photographed(made: bytes, *, tilt: float = 0.0, turn: int = 0) -> Image.Image:
    """The first page of a PDF as a scanner would give it: noise, a page that lies askew, or turned by quarters."""
    shown = pypdfium2.PdfDocument(made)[0].render(scale=130 / 72, grayscale=True).to_pil()
    shown = shown.rotate(tilt, Image.Resampling.BICUBIC, fillcolor=255)
    noise = np.random.default_rng(7).normal(0, 12, (shown.height, shown.width))
    noisy = (np.asarray(shown, dtype=np.float32) + noise).clip(0, 255).astype(np.uint8)
    return Image.fromarray(noisy).rotate(turn, expand=True)


def scanned_pdf(*pages: Image.Image | str) -> bytes:
    """A PDF of pictures, each of which fills its page, and of pages with a line of text."""
    canvas = Canvas("")
    for page in pages:
        if isinstance(page, str):
            canvas.setPageSize(A4)
            canvas.drawString(60, 700, page)
        else:
            canvas.setPageSize(page.size)
            canvas.drawImage(ImageReader(page), 0, 0, *page.size)
            canvas.drawString(20, 8, "Scanned by a machine with a long name")
        canvas.showPage()
    made: bytes = canvas.getpdfdata()
    return made


def encoded(*frames: Image.Image, kind: str = "TIFF") -> bytes:
    buffer = io.BytesIO()
    more = {"save_all": True, "append_images": frames[1:]} if len(frames) > 1 else {}
    frames[0].save(buffer, kind, **more)
    return buffer.getvalue()
