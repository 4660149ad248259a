"""Pairs of question and window for the reader, with what is right: the units that answer, and the tokens of the answer.

Next: training/reader.py.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from tidegate.infra.models.data.qa import QaDocument, QaQuestion, QaSet
from tidegate.services.knowledge.reader.windows import ReadableUnit, Window, cut_windows, encode_question
from tidegate.services.knowledge.tokenizer import PieceTokenizer

MOST_RIGHT = 2
MOST_WRONG = 2
STEEPNESS = 0.35
"""How much likelier a window is drawn than the next one in the ranking."""

Unit = tuple[str, int]
Place = tuple[str, int]
"""A document and the number of a window in it."""


class Pair(msgspec.Struct, frozen=True):
    """`right` says for each piece of the window whether it answers; `span` are the first and last token of the answer
    in the window, None where they are not known."""

    question: tuple[int, ...]
    window: Window
    right: tuple[bool, ...]
    span: tuple[int, int] | None
    position: Place


class Windows:
    """The windows of documents, cut once, and in which of them a unit is scored."""

    def __init__(self, data: QaSet, tokenizer: PieceTokenizer) -> None:
        self._data = data
        self.encode = tokenizer.encode
        self._cut: dict[str, list[Window]] = {}

    def of(self, document: str) -> list[Window]:
        if document not in self._cut:
            self._cut[document] = self._windows(self._data.documents[document])
        return self._cut[document]

    def places(self, unit: Unit) -> list[Place]:
        """The windows that score the unit."""
        document, number = unit
        windows = enumerate(self.of(document))
        return [(document, at) for at, window in windows if any(piece.unit == number for piece in window.pieces)]

    def places_of(self, units: Sequence[Unit], most: int) -> list[Place]:
        """The first `most` windows that score the units, in the order of the units."""
        found: dict[Place, None] = {}
        for unit in units:
            found.update(dict.fromkeys(self.places(unit)))
            if len(found) >= most:
                break
        return list(found)[:most]

    def pair(self, question: QaQuestion, position: Place) -> Pair:
        document, at = position
        window = self.of(document)[at]
        gold = question.gold if document == question.document else frozenset()
        right = tuple(piece.unit in gold for piece in window.pieces)
        asked = encode_question(question.text, self.encode)
        return Pair(asked, window, right, self._span(question, document, window) if any(right) else None, position)

    def group(self, question: QaQuestion, ranked: Sequence[Unit]) -> list[Pair]:
        """One to four pairs: windows that answer, and windows drawn from the ranking that do not."""
        right = {position for number in question.gold for position in self.places((question.document, number))}
        wrong = [position for position in self.places_of(ranked, 12) if position not in right]
        chosen = random.sample(sorted(right), min(MOST_RIGHT, len(right)))
        wanted = MOST_WRONG if not right or random.random() < 0.5 else 1
        while wrong and wanted:
            chosen.append(wrong.pop(min(len(wrong) - 1, int(random.expovariate(STEEPNESS)))))
            wanted -= 1
        return [self.pair(question, position) for position in chosen]

    def _windows(self, document: QaDocument) -> list[Window]:
        units = [ReadableUnit(unit.heading, unit.text) for unit in document.units]
        return cut_windows(document.title, units, self.encode)

    def _span(self, question: QaQuestion, document: str, window: Window) -> tuple[int, int] | None:
        """The tokens of the answer where it stands in an answering unit word for word."""
        answer = question.answer.strip().rstrip(".").casefold()
        for piece in window.pieces:
            text = self._data.documents[document].units[piece.unit].text.casefold()
            start = text.find(answer) if answer and piece.unit in question.gold else -1
            inside = [
                piece.start + at
                for at, (first, last) in enumerate(piece.offsets)
                if start >= 0 and first < start + len(answer) and last > start
            ]
            if inside:
                return inside[0], inside[-1]
        return None
