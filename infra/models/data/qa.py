"""Questions over documents, to train and measure embedding and reader on: our own, XQuAD's and SQuAD 2.0's.

Documents are cut into units by the product's own chunking. The files are described in the README of the data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tidegate.services.knowledge.index.chunking import cut_into_chunks, render_unit
from tidegate.services.knowledge.index.embedded import with_heading

HALF = 0.5
OWN = Path(__file__).with_name("questions")
"""Documents and questions kept here, in the format of qa/train; none of them is ever measured on."""
OWN_PREFIX = "own-"
"""What the names of their files begin with."""
TRAIN = "train"
OWN_KINDS = ("plain", "paraphrase", "colloquial", "yes_no", "multi", "cross_language")


class QaUnit(msgspec.Struct, frozen=True, gc=False):
    """A unit of a document: its characters, its heading, and its text as it is read; `passage` numbers its passage."""

    start: int
    end: int
    heading: str
    text: str
    passage: int


class QaDocument(msgspec.Struct, frozen=True):
    """`corpus` names the documents that are searched together with this one."""

    id: str
    corpus: str
    language: str
    title: str
    units: tuple[QaUnit, ...]
    domain: str = ""

    def line(self, number: int) -> str:
        """What is embedded of a unit."""
        unit = self.units[number]
        return with_heading(self.title, unit.heading, unit.text)


class QaQuestion(msgspec.Struct, frozen=True):
    """`gold` numbers the units that answer, none for a question without an answer in the document that it is asked of.

    `id` is the same for translations of one question.
    """

    text: str
    language: str
    kind: str
    document: str
    gold: frozenset[int]
    answer: str = ""
    id: str = ""


class QaSet(msgspec.Struct, frozen=True):
    """Documents by id, and the questions asked of them."""

    documents: dict[str, QaDocument]
    questions: tuple[QaQuestion, ...]

    def units(self, corpus: str | None = None) -> list[tuple[str, int]]:
        """(document, number) of every unit, or of those of one corpus."""
        chosen = [each for each in self.documents.values() if corpus is None or each.corpus == corpus]
        return [(each.id, number) for each in chosen for number in range(len(each.units))]


def own_files(directory: Path, split: str) -> list[Path]:
    """Where our own questions are, `split` train or dev; those kept here are to train on."""
    return [
        *sorted((directory / "qa").glob(f"{split}-*.jsonl")),
        *(sorted(OWN.glob("*.jsonl")) if split == TRAIN else []),
    ]


def load_own(directory: Path, split: str) -> QaSet:
    """Our own questions, `split` train or dev; the documents of one file are one corpus."""
    documents: dict[str, QaDocument] = {}
    questions: list[QaQuestion] = []
    for path in own_files(directory, split):
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            name = f"{path.stem}/{record['id']}"
            document = QaDocument(
                name, path.stem, record["language"], record["title"], cut_units(record["text"]), record["domain"]
            )
            documents[name] = document
            questions += _own_questions(record, document)
    return QaSet(documents, tuple(questions))


def load_squad(path: Path, language: str, articles: Iterable[int] | None = None, limit: int | None = None) -> QaSet:
    """A file in SQuAD's format, all of it or some articles by number; each paragraph is a document."""
    documents: dict[str, QaDocument] = {}
    questions: list[QaQuestion] = []
    chosen = None if articles is None else frozenset(articles)
    for number, article in enumerate(json.loads(path.read_text(encoding="utf-8"))["data"]):
        if chosen is not None and number not in chosen:
            continue
        title = article.get("title", "").replace("_", " ")
        for at, paragraph in enumerate(article["paragraphs"][:limit]):
            name = f"{path.stem}/{number}/{at}"
            units = cut_units(paragraph["context"])
            documents[name] = QaDocument(name, path.stem, language, title, units)
            questions += _squad_questions(paragraph, documents[name])
    return QaSet(documents, tuple(questions))


def cut_units(text: str) -> tuple[QaUnit, ...]:
    """The units of a document, in order, as the product cuts them."""
    return tuple(
        QaUnit(unit.start, unit.end, unit.heading, render_unit(text, unit), number)
        for number, chunk in enumerate(cut_into_chunks(text))
        for unit in chunk.units
    )


def overlapping(units: Sequence[QaUnit], start: int, end: int) -> set[int]:
    """The units that share with the characters half of themselves or half of these."""
    found = set()
    for number, unit in enumerate(units):
        shared = min(end, unit.end) - max(start, unit.start)
        if shared > 0 and shared >= HALF * min(end - start, unit.end - unit.start):
            found.add(number)
    return found


def _own_questions(record: dict[str, Any], document: QaDocument) -> Iterable[QaQuestion]:
    for asked in record["questions"]:
        gold: set[int] = set()
        for evidence in asked["evidence"]:
            start = record["text"].find(evidence)
            gold |= overlapping(document.units, start, start + len(evidence))
        if bool(gold) == bool(asked["evidence"]):
            answer = asked.get("answer", "")
            yield QaQuestion(
                asked["text"], asked["language"], asked["kind"], document.id, frozenset(gold), answer, asked["text"]
            )


def _squad_questions(paragraph: dict[str, Any], document: QaDocument) -> Iterable[QaQuestion]:
    for asked in paragraph["qas"]:
        answers = [] if asked.get("is_impossible") else asked["answers"]
        gold: set[int] = set()
        for answer in answers[:1]:
            start = answer["answer_start"]
            gold |= overlapping(document.units, start, start + len(answer["text"]))
        if bool(gold) == bool(answers):
            kind = "plain" if gold else "impossible_near"
            answer_text = answers[0]["text"] if answers else ""
            yield QaQuestion(
                asked["question"], document.language, kind, document.id, frozenset(gold), answer_text, asked["id"]
            )
