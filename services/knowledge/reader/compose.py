"""Makes an answer's text of the units that were selected. Promises plain words, and a citation for each of them.

Next: selection.py, which says what is selected and in which order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from tidegate.schemas import Citation
from tidegate.services.knowledge.index.blocks import BULLET
from tidegate.services.knowledge.index.markdown import strip_markup
from tidegate.services.knowledge.reader.candidates import Candidate

Line = tuple[str, str]
"""What is shown in front of a line, and the line."""


class ComposedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`text` is all that is shown, `body` those words of it that are the documents'."""

    text: str
    body: str
    citations: tuple[Citation, ...]


def compose_answer(selected: Sequence[Candidate], lead: str = "", note: str = "") -> ComposedAnswer:
    """The text, and a citation for each unit and each context line that the text needs.

    `lead` stands before what is quoted, `note` below it. A list's intro comes once, before its first item; an item
    keeps its number, a row the words of its header. The text of fewer units begins the text of more.
    """
    citations: dict[tuple[str, int, int], Citation] = {}
    shown: list[str] = []
    body: list[str] = []
    is_listed = False
    for each in selected:
        for front, line in _lines(each, citations):
            own_line = each.unit.kind != "sentence"
            if shown:
                shown.append("\n" if own_line or is_listed else " ")
            shown.append(front + line)
            body.append(line)
            is_listed = own_line
    text = "".join(shown)
    text = f"{lead} {text}" if lead else text
    return ComposedAnswer(
        text=f"{text}\n{note}" if note else text, body=" ".join(body), citations=tuple(citations.values())
    )


def _lines(each: Candidate, citations: dict[tuple[str, int, int], Citation]) -> Iterator[Line]:
    """The lines of one unit, while what they rest on is added to the citations."""
    unit, document = each.unit, each.passage.document_id
    if unit.kind == "item" and each.context:
        start, end, quote = each.context[0]
        if (document, start, end) not in citations:
            yield "", strip_markup(quote)
    context = () if unit.kind == "sentence" else each.context
    for start, end, quote in (*context, (unit.start, unit.end, each.text)):
        citations[document, start, end] = each.cite(start, end, quote)
    yield _show_marker(unit.marker), each.plain_text


def _show_marker(marker: str) -> str:
    """A number as it stands in the document; a bullet only where it shows that the item belongs to another."""
    return f"{marker} " if marker and (marker.strip() != BULLET or marker != BULLET) else ""
