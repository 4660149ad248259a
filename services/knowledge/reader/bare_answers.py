"""A document's bare yes or no, answered together with the sentence behind it: "No. The nearest one is in Tower Street."

Next: selection.py, reader.py.
"""

from __future__ import annotations

import msgspec

from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.candidates import Candidate, SpanScorer
from tidegate.services.knowledge.reader.selection import Selection
from tidegate.services.knowledge.reader.yes_no import is_bare_answer


def complete_bare(selection: Selection, scorer: SpanScorer, index: HybridIndex) -> Selection:
    """The selection with what follows a bare yes or no in its paragraph, where that alone was selected."""
    if len(selection.units) != 1 or not is_bare_answer(selection.units[0].plain_text):
        return selection
    following = _next_sentence(selection.units[0], scorer, index)
    return msgspec.structs.replace(selection, units=(*selection.units, following)) if following else selection


def _next_sentence(bare: Candidate, scorer: SpanScorer, index: HybridIndex) -> Candidate | None:
    passage, number = bare.passage, bare.number + 1
    held = index.units(passage.document_id, passage.document_version)
    if held is None or not 0 < number < len(held.units):
        return None
    text, unit = held.document.text, held.units[number]
    if unit.kind != "sentence" or unit.heading != bare.unit.heading or "\n\n" in text[bare.unit.end : unit.start]:
        return None
    alone = msgspec.structs.replace(passage, text=text[unit.start : unit.end], start=unit.start, end=unit.end)
    found = scorer.describe(alone, unit, text, float(held.vectors[number] @ scorer.vector))
    return msgspec.structs.replace(found, number=number, document=held.document)
