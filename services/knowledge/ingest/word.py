"""Word documents, as HTML by mammoth: deletions, hidden text, comments, headers and footers are left out.

They have no page numbers: where a page ends depends on the program and the fonts that show it. Next:
html.py, office.py.
"""

from __future__ import annotations

import io
from typing import Any

import mammoth
import msgspec

from tidegate.services.knowledge.ingest.html import convert_html
from tidegate.services.knowledge.ingest.office import check_office
from tidegate.services.knowledge.ingest.parts import FileNote, IngestedText
from tidegate.services.knowledge.ingest.word_runs import without_unseen_runs

_STYLES = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => h2:fresh\nstrike => s"


def read_word(data: bytes) -> IngestedText:
    """A `.docx` file as Markdown. Raises `FileUnreadError`."""
    about = check_office(data, "word/document.xml", "docx")
    shown = without_unseen_runs(data)
    notes = (
        ()
        if shown is data
        else (FileNote("text that is formatted as hidden, in white on nothing or too small is not read"),)
    )
    made = mammoth.convert_to_html(
        io.BytesIO(shown), style_map=_STYLES, convert_image=mammoth.images.img_element(_leave_out)
    )
    return msgspec.structs.replace(convert_html(made.value), title=about.title, date=about.date, notes=notes)


def _leave_out(_image: Any) -> dict[str, str]:
    return {}
