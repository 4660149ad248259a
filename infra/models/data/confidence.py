"""Sites with what is asked of them, for the confidence to be fitted on: documents that neither embedding nor reader has
learned from where `--hold-out` trained them. Next: training/fit_confidence.py."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tidegate.infra.models.data.mixture import HELD_ARTICLES, HELD_TOGETHER, LANGUAGES, TRAINING_ARTICLES, is_held
from tidegate.infra.models.data.qa import HALF, TRAIN, own_files
from tidegate.schemas.pack import Document

HELD = range(TRAINING_ARTICLES - HELD_ARTICLES, TRAINING_ARTICLES)
BESIDE = range(5)
"""Articles of XQuAD whose paragraphs are there too, so that there is something else to find."""
STRANGE = range(5, 20)
"""Those that the questions without an answer are about."""
STRANGERS = 60
FAR = "impossible_far"


class AskedQuestion(msgspec.Struct, frozen=True):
    """A question with the characters of its document that answer it; none where the documents are silent."""

    id: str
    text: str
    language: str
    kind: str
    document: str = ""
    evidence: tuple[tuple[int, int], ...] = ()

    def is_answered_by(self, document: str, start: int, end: int) -> bool:
        """Whether these characters hold half of the evidence, or lie in it by half."""
        return document == self.document and any(
            min(end, last) - max(start, first) >= HALF * min(end - start, last - first) for first, last in self.evidence
        )


class AskedSite(msgspec.Struct, frozen=True):
    """`is_by_document`: the documents are paragraphs, and to find the right one is nearly all."""

    name: str
    documents: tuple[Document, ...]
    questions: tuple[AskedQuestion, ...]
    is_by_document: bool = False


def own_sites(directory: Path) -> Iterator[AskedSite]:
    """The documents of ours that are held, a few of a file together."""
    for path in own_files(directory, TRAIN):
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        records = [each for each in records if is_held(f"{path.stem}/{each['id']}")]
        for at in range(0, len(records), HELD_TOGETHER):
            chosen = records[at : at + HELD_TOGETHER]
            documents = tuple(_document(each["id"], each["title"], each["text"], each["language"]) for each in chosen)
            asked = tuple(asked for each in chosen for asked in _own_questions(each))
            yield AskedSite(f"{path.stem}/{at // HELD_TOGETHER}", documents, asked)


def xquad_sites(directory: Path) -> Iterator[AskedSite]:
    """The held articles of XQuAD with others, in each language; and the English ones, asked in German."""
    sites = {language: _xquad_site(directory / "xquad" / f"{language}.json", language) for language in LANGUAGES}
    yield from sites.values()
    german = {each.id: each.text for each in sites["de"].questions}
    asked = tuple(
        msgspec.structs.replace(each, text=german[each.id], language="de")
        for each in sites["en"].questions
        if each.id in german
    )
    yield msgspec.structs.replace(sites["en"], name="xquad-de-en", questions=asked)


def _xquad_site(path: Path, language: str) -> AskedSite:
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    documents, asked = [], []
    for number in (*HELD, *BESIDE):
        for at, paragraph in enumerate(articles[number]["paragraphs"]):
            name, title = f"{number}-{at}", articles[number].get("title", "").replace("_", " ")
            documents.append(_document(name, title, paragraph["context"], language))
            if number in HELD:
                asked += [_xquad_question(each, language, name) for each in paragraph["qas"]]
    strange = [
        _xquad_question(each, language, "")
        for number in STRANGE
        for paragraph in articles[number]["paragraphs"]
        for each in paragraph["qas"]
    ]
    asked += random.Random(1).sample(strange, STRANGERS)
    return AskedSite(f"xquad-{language}", tuple(documents), tuple(asked), is_by_document=True)


def _xquad_question(asked: dict[str, Any], language: str, document: str) -> AskedQuestion:
    spans = [(each["answer_start"], each["answer_start"] + len(each["text"])) for each in asked["answers"]]
    kind, evidence = ("plain", tuple(spans)) if document else (FAR, ())
    return AskedQuestion(asked["id"], asked["question"], language, kind, document, evidence)


def _own_questions(record: dict[str, Any]) -> Sequence[AskedQuestion]:
    found = []
    for asked in record["questions"]:
        starts = [(record["text"].find(each), len(each)) for each in asked["evidence"]]
        evidence = tuple((start, start + length) for start, length in starts)
        found.append(
            AskedQuestion(asked["text"], asked["text"], asked["language"], asked["kind"], record["id"], evidence)
        )
    return found


def _document(name: str, title: str, text: str, language: str) -> Document:
    return Document(id=name, title=title, language=language, scope="shared", text=text, version="1")
