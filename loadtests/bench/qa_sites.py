"""Sites over the documents of a file of questions, and what stands for the evidence of an answer in them.

A file is JSON Lines of `{"id", "title", "language", "text", "questions": [{"text", "language", "kind", "evidence",
"answer"}]}`; what `answer` says in a few words is read only where texts are held against it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tidegate.schemas import Passage
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.candidates import Candidate, SpanScorer
from tidegate.services.knowledge.reader.unit_reader import UnitReader

K = 8
HALF = 0.5
"""Share of a unit or of the evidence that the two must have in common."""


class QaQuestion(msgspec.Struct, frozen=True):
    """A question with the characters of its document that answer it; none where the documents are silent."""

    text: str
    language: str
    kind: str
    document: str
    evidence: tuple[tuple[int, int], ...]
    answer: str = ""

    def is_answered_by(self, unit: Candidate) -> bool:
        """Whether a unit holds half of the evidence, or lies in it by half."""
        return self.is_answered_at(unit.passage.document_id, unit.unit.start, unit.unit.end)

    def is_answered_at(self, document: str, start: int, end: int) -> bool:
        """The same of any characters of a document."""
        if document != self.document:
            return False
        return any(
            min(end, last) - max(start, first) >= HALF * min(end - start, last - first) for first, last in self.evidence
        )


class QaFile(msgspec.Struct, frozen=True):
    """The documents that are searched together, and what is asked."""

    documents: tuple[Document, ...]
    questions: tuple[QaQuestion, ...]


class QaSite:
    """An index over some documents."""

    def __init__(self, documents: Sequence[Document], units: UnitReader, directory: Path) -> None:
        self.index = HybridIndex.open(directory, units.embedder)
        self.index.upsert(documents)
        self._embedder = units.embedder
        self._ranking = units.ranking
        self._documents = [(document.id, document.version) for document in documents]

    def search(self, question: QaQuestion) -> list[Passage]:
        """The passages that the retriever would find."""
        return self.index.find(question.text, K, question.language)

    def all_units(self) -> list[Candidate]:
        """Every unit of every document, unranked."""
        scorer = SpanScorer("", "", self._embedder.embed(""), self.index, self._ranking)
        found = []
        for name, version in self._documents:
            held = self.index.units(name, version)
            assert held is not None
            text = held.document.text
            whole = Passage(
                document_id=name,
                document_version=version,
                title=held.document.title,
                text=text,
                language=held.document.language,
                start=0,
                end=len(text),
                score=0.0,
            )
            found += [scorer.describe(whole, unit, text, 0.0) for unit in held.units]
        return found


def read_files(directory: Path, split: str = "dev") -> Iterator[QaFile]:
    """Every file of a split. Raises `FileNotFoundError` where there is none."""
    paths = sorted(directory.glob(f"{split}-*.jsonl"))
    if not paths:
        raise FileNotFoundError(f"no {split}-*.jsonl in {directory}")
    for path in paths:
        records = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        yield QaFile(tuple(map(_document, records)), tuple(_questions(records)))


def _document(record: dict[str, Any]) -> Document:
    return Document(
        id=record["id"],
        title=record["title"],
        language=record["language"],
        scope="shared",
        text=record["text"],
        version="1",
    )


def _questions(records: Iterable[dict[str, Any]]) -> Iterator[QaQuestion]:
    for record in records:
        for asked in record["questions"]:
            starts = [(record["text"].find(each), len(each)) for each in asked["evidence"]]
            evidence = tuple((start, start + length) for start, length in starts)
            answer = asked.get("answer", "")
            yield QaQuestion(asked["text"], asked["language"], asked["kind"], record["id"], evidence, answer)
