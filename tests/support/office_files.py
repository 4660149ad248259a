"""Documents as people have them: PDF written by reportlab, Word by python-docx, Excel by openpyxl."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import docx
import openpyxl
from PIL import Image as Picture
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import (
    BaseDocTemplate,
    Frame,
    Image,
    ListFlowable,
    ListItem,
    PageBreak,
    PageTemplate,
    Paragraph,
    SimpleDocTemplate,
    Table,
)

STYLES = getSampleStyleSheet()
RULED = [("GRID", (0, 0), (-1, -1), 0.5, colors.black), ("FONT", (0, 0), (-1, 0), "Helvetica-Bold")]
Decorate = Callable[[Any, Any], None]


def heading(text: str, level: int = 1) -> Paragraph:
    return Paragraph(text, STYLES[f"Heading{level}"])


def paragraph(text: str) -> Paragraph:
    return Paragraph(text, STYLES["BodyText"])


def bullets(*items: str, kind: str = "bullet") -> ListFlowable:
    return ListFlowable(
        [ListItem(paragraph(item)) for item in items], bulletType=kind, bulletFormat=None if kind == "bullet" else "%s."
    )


def table(rows: Sequence[Sequence[str]], *, is_ruled: bool = True, style: Sequence[Any] = ()) -> Table:
    made = Table([list(row) for row in rows])
    made.setStyle([*(RULED if is_ruled else RULED[1:]), *style])
    return made


def page_break() -> PageBreak:
    return PageBreak()


def running(canvas: Any, page: Any) -> None:
    """A header with a date, another with a name, and a footer with the page's number."""
    canvas.setFont("Helvetica", 8)
    canvas.drawString(60, A4[1] - 30, "Harbour Bank, price list")
    canvas.drawRightString(A4[0] - 60, A4[1] - 44, "valid from 1 March 2025")
    canvas.drawCentredString(A4[0] / 2, 25, f"Page {page.page} of 9")


def pdf(*story: Any, decorate: Decorate | None = None, **settings: Any) -> bytes:
    """A PDF of one column."""
    buffer = io.BytesIO()
    given = {"onFirstPage": decorate, "onLaterPages": decorate} if decorate else {}
    SimpleDocTemplate(buffer, pagesize=A4, **settings).build(list(story), **given)
    return buffer.getvalue()


def two_column_pdf(*story: Any) -> bytes:
    buffer = io.BytesIO()
    width = (A4[0] - 140) / 2
    frames = [Frame(60, 60, width, A4[1] - 120), Frame(80 + width, 60, width, A4[1] - 120)]
    made = BaseDocTemplate(buffer, pagesize=A4)
    made.addPageTemplates(PageTemplate(frames=frames))
    made.build(list(story))
    return buffer.getvalue()


def scan(folder: Path) -> Image:
    """A page that a picture covers."""
    file = folder / "scan.png"
    Picture.new("L", (1200, 1700), 255).save(file)
    return Image(str(file), 430, 600)


def word(fill: Callable[[Any], None]) -> bytes:
    document = docx.Document()
    fill(document)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def excel(fill: Callable[[Any], None]) -> bytes:
    book = openpyxl.Workbook()
    fill(book)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()
