"""A site as the product will be: the shipped graphs over one corpus, and the signals of the units for a question.

Next: ranking.py, services/knowledge/reader/ranking.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.infra.models.data.keyword_scores import KeywordScores
from tidegate.infra.models.data.qa import QaQuestion, QaSet
from tidegate.infra.models.data.reading import Windows
from tidegate.infra.models.evaluation.states import FrozenStates
from tidegate.infra.models.export.session import open_session
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.reader.coverage import AskedTerms, find_stated, state_terms
from tidegate.services.knowledge.reader.pairs import logits_of_units, pack_pairs
from tidegate.services.knowledge.reader.ranking import UnitSignals
from tidegate.services.knowledge.reader.windows import encode_question

MOST_WINDOWS = 4
"""Windows that are read for a question."""

Unit = tuple[str, int]


class Evidence(msgspec.Struct, frozen=True):
    """A question with the signals of the units that were read, and which of them answer."""

    question: QaQuestion
    units: tuple[Unit, ...]
    signals: tuple[UnitSignals, ...]
    right: tuple[bool, ...]
    is_answerable: bool


class Models:
    """The graphs of a built directory; `states` may be those of the same frozen layers."""

    def __init__(self, directory: Path, states: FrozenStates | None = None) -> None:
        self.states = states or FrozenStates(directory)
        self._lower = FrozenStates(directory, lower_only=True)
        self._embed = open_session(str(directory / "embed.onnx"))
        reader = directory / "read.onnx"
        self._read = open_session(str(reader)) if reader.exists() else None
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def vectors(self, texts: Sequence[str], role: str) -> NDArray[np.float32]:
        return np.stack([self._vector(f"{role}: {text}") for text in texts])

    def read(self, asked: tuple[int, ...], windows: Windows, places: Sequence[tuple[str, int]]) -> dict[Unit, float]:
        """The logit of every unit in these windows."""
        if self._read is None:
            raise FileNotFoundError("this model has no read.onnx")
        chosen = [windows.of(document)[at] for document, at in places]
        states = [self._lower.of(window.ids) for window in chosen]
        answers = self._read.run(["answers"], pack_pairs(self._lower.of(asked), chosen, states))[0]
        found: dict[Unit, float] = {}
        for (document, _), logits in zip(places, logits_of_units(chosen, answers), strict=True):
            for unit, logit in logits.items():
                found[document, unit] = max(logit, found.get((document, unit), logit))
        return found

    def _vector(self, text: str) -> NDArray[np.float32]:
        if text not in self._vectors:
            states = self.states.of(self.states.ids(text))[None].astype(np.float32)
            mask = np.ones(states.shape[:2], np.int64)
            self._vectors[text] = self._embed.run(None, {"states": states, "attention_mask": mask})[0][0]
        return self._vectors[text]


class Site:
    """Documents that are searched together."""

    def __init__(self, data: QaSet, corpus: str, models: Models) -> None:
        self._data = data
        self._models = models
        self._windows = Windows(data, models.states.tokenizer)
        self.units = data.units(corpus)
        lines = [data.documents[document].line(number) for document, number in self.units]
        languages = [data.documents[document].language for document, _ in self.units]
        self._vectors = models.vectors(lines, "passage")
        self._keywords = KeywordScores(lines, languages)
        self._terms = [find_stated(line, each) for line, each in zip(lines, languages, strict=True)]
        passages: dict[tuple[str, int], set[str]] = {}
        for (document, number), terms in zip(self.units, self._terms, strict=True):
            passage = document, data.documents[document].units[number].passage
            passages.setdefault(passage, set()).update(terms.terms)
        self._passages = {name: state_terms(frozenset(terms)) for name, terms in passages.items()}

    def signals(self, question: QaQuestion) -> list[UnitSignals]:
        """Those of every unit, unread."""
        cosines = self._vectors @ self._models.vectors([question.text], "query")[0]
        weights = {
            language: AskedTerms(
                {term: self._keywords.rarity(term, language) for term in find_terms(question.text, language)}
            )
            for language in {self._data.documents[document].language for document, _ in self.units}
        }
        found = []
        for (name, number), terms, cosine in zip(self.units, self._terms, cosines.tolist(), strict=True):
            document = self._data.documents[name]
            unit = document.units[number]
            asked = weights[document.language]
            own = asked.share(asked.degrees(terms))
            around = asked.share(asked.degrees(self._passages[name, unit.passage]))
            line = document.line(number)
            found.append(UnitSignals(name, unit.text, line, cosine, own, around))
        return found

    def keyword_scores(self, question: QaQuestion) -> NDArray[np.float64]:
        """BM25 of every unit."""
        return self._keywords.score(question.text)[0]

    def read(self, question: QaQuestion, signals: Sequence[UnitSignals], scores: NDArray[np.float64]) -> Evidence:
        """Read the windows of the units that score best, and say what is right."""
        order = np.argsort(-scores, kind="stable").tolist()
        places = self._windows.places_of([self.units[number] for number in order], MOST_WINDOWS)
        asked = encode_question(question.text, self._windows.encode)
        logits = self._models.read(asked, self._windows, places)
        kept = [number for number in order if self.units[number] in logits]
        units = tuple(self.units[number] for number in kept)
        read = (msgspec.structs.replace(signals[number], logit=logits[self.units[number]]) for number in kept)
        right = tuple(document == question.document and number in question.gold for document, number in units)
        return Evidence(question, units, tuple(read), right, bool(question.gold))
