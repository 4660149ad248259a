"""How many questions about paragraphs are answered rightly, and how many that no paragraph answers are answered all the
same, by language: `python -m loadtests.bench.answers_xquad DATA`. DATA is a directory of files in SQuAD's format, one
for each language (Artetxe et al., "On the cross-lingual transferability of monolingual representations", ACL 2020).

A site has the paragraphs of the last articles of a file, each as a document; no part of the product has learned from
these. An answer is published as a site without questions of its own publishes: from `escalate_below` on.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from loadtests.bench.answers_reader import UNREAD
from loadtests.bench.measure import Bar, Entry, Measurement, Target
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.calibration import SHIPPED
from tidegate.services.knowledge.reader.effort import AT_SITE, Effort
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.stages.settings import DrafterSettings

NAME = "answers_xquad"
FILE = Path("xquad")
MODELS = Path(".models")
LEAST_CORRECT = {"en": 88.0, "de": 84.0, "es": 84.0}
"""Per cent of the questions in each language, which is also the name of its file."""
ARTICLES = 6
"""How many articles, the last of a file, a site has."""
STRANGERS = 100
"""How many questions about the others are asked in each language, drawn with seed 1."""
K = 8
_WORD = re.compile(r"\w+")


class XquadQuestion(msgspec.Struct, frozen=True):
    """A question with the document that answers it and the answers that are accepted; none of either for a stranger."""

    text: str
    document: str = ""
    answers: tuple[str, ...] = ()


class XquadSite(msgspec.Struct, frozen=True):
    """The documents of one language and what is asked of them."""

    language: str
    documents: tuple[Document, ...]
    questions: tuple[XquadQuestion, ...]


class JudgedAnswer(msgspec.Struct, frozen=True):
    """An answer: whether it cites its paragraph and states what is accepted, and whether a site publishes it."""

    language: str
    is_stranger: bool
    is_correct: bool
    is_published: bool
    words: int
    took_ms: float


def read_sites(directory: Path) -> Iterator[XquadSite]:
    """A site for each language. Raises `FileNotFoundError` where one is missing."""
    for language in LEAST_CORRECT:
        articles = json.loads((directory / f"{language}.json").read_text("utf-8"))["data"]
        documents: list[Document] = []
        asked: list[XquadQuestion] = []
        for number, article in enumerate(articles[-ARTICLES:]):
            for at, paragraph in enumerate(article["paragraphs"]):
                document = _document(f"{number}-{at}", article.get("title", ""), paragraph["context"], language)
                documents.append(document)
                asked += _questions(paragraph, document.id)
        others = [
            each for article in articles[:-ARTICLES] for part in article["paragraphs"] for each in _questions(part)
        ]
        strangers = random.Random(1).sample(others, min(STRANGERS, len(others)))
        yield XquadSite(language, tuple(documents), (*asked, *strangers))


def _document(name: str, title: str, text: str, language: str) -> Document:
    return Document(id=name, title=title.replace("_", " "), language=language, scope="shared", text=text, version="1")


def _questions(paragraph: dict[str, Any], document: str = "") -> list[XquadQuestion]:
    """Those of a paragraph; strangers where its document is none of the site's."""
    return [
        XquadQuestion(asked["question"], document, tuple(each["text"] for each in asked["answers"]) if document else ())
        for asked in paragraph["qas"]
    ]


def judge(reader: Reader, index: HybridIndex, language: str, question: XquadQuestion, least: float) -> JudgedAnswer:
    """What a reader answers, published from the confidence `least` on."""
    began_s = time.perf_counter()
    found = reader.rank_spans(question.text, language, index.find(question.text, K, language), index).answer
    took_ms = (time.perf_counter() - began_s) * 1e3
    is_cited = any(each.document_id == question.document for each in found.citations)
    is_correct = is_cited and states(found.text, question.answers)
    is_published = bool(found.text) and found.confidence >= least
    return JudgedAnswer(language, not question.document, is_correct, is_published, len(found.text.split()), took_ms)


def states(text: str, answers: Sequence[str]) -> bool:
    """Whether a text has all words of one of the answers, in a row."""
    return any(_plain(answer) in _plain(text) for answer in answers)


def _plain(text: str) -> str:
    return f" {' '.join(_WORD.findall(text.lower()))} "


def measure_sites(directory: Path, units: UnitReader, effort: Effort = AT_SITE) -> list[JudgedAnswer]:
    """Every question of every language."""
    reader, least = Reader(units, SHIPPED, effort), DrafterSettings().escalate_below
    found: list[JudgedAnswer] = []
    for site in read_sites(directory):
        with tempfile.TemporaryDirectory() as home:
            index = HybridIndex.open(Path(home), units.embedder)
            index.upsert(site.documents)
            found += [judge(reader, index, site.language, question, least) for question in site.questions]
    return found


def shares(judged: Sequence[JudgedAnswer]) -> dict[str, float]:
    """Per cent of the questions that have an answer: published and correct, published and wrong, correct if all were
    published; per cent of strangers that are answered; and the mean words of what is published."""
    asked = [each for each in judged if not each.is_stranger]
    strangers = [each for each in judged if each.is_stranger]
    published = [each for each in judged if each.is_published]
    return {
        "correct": _percent([each.is_published and each.is_correct for each in asked]),
        "wrong": _percent([each.is_published and not each.is_correct for each in asked]),
        "correct_if_published": _percent([each.is_correct for each in asked]),
        "strangers_answered": _percent([each.is_published for each in strangers]),
        "words": sum(each.words for each in published) / max(1, len(published)),
    }


def _percent(held: Sequence[bool]) -> float:
    return 100 * sum(held) / max(1, len(held))


def figures(judged: Sequence[JudgedAnswer]) -> dict[str, tuple[float, ...]]:
    """What the bars of the bench look at."""
    whole = shares(judged)
    by_language = {
        f"correct_{language}": (shares([each for each in judged if each.language == language])["correct"],)
        for language in LEAST_CORRECT
    }
    return {
        **by_language,
        **{name: (value,) for name, value in whole.items()},
        "answer_ms": tuple(each.took_ms for each in judged),
    }


async def blocks(data: Path, repeats: int) -> AsyncIterator[Measurement]:
    """Per cent published and correct, ours and by retrieval alone; measured once, because no block differs."""
    units = UnitReader.load(MODELS)
    ours, unread = measure_sites(data, units), measure_sites(data, units, UNREAD)
    for _ in range(repeats):
        yield Measurement("ours", shares(ours)["correct"], figures(ours))
        yield Measurement("peer", shares(unread)["correct"], figures(unread))


def entry(data: Path) -> Entry:
    """The line of the bench over a directory of files in SQuAD's format."""
    return Entry(
        name=NAME,
        unit="% of questions published and correct",
        peer_name="the same without the cross-encoder",
        target=Target("≥", 1.0),
        blocks=partial(blocks, data),
        bars=(
            *(
                Bar(samples=f"correct_{language}", quantile=0.0, target=Target("≥", least), unit="%")
                for language, least in LEAST_CORRECT.items()
            ),
            Bar(samples="strangers_answered", quantile=1.0, target=Target("≤", 2), unit="%"),
            Bar(samples="words", quantile=1.0, target=Target("≤", 30), unit="words"),
            Bar(samples="wrong", quantile=1.0, unit="%"),
            Bar(samples="answer_ms", quantile=0.5),
            Bar(samples="answer_ms", quantile=0.95),
        ),
    )


def table_of(judged: Sequence[JudgedAnswer]) -> str:
    """The shares of each language and of all."""
    rows = {language: [each for each in judged if each.language == language] for language in LEAST_CORRECT}
    found = {name: shares(rows) for name, rows in ({**rows, "all": list(judged)}).items()}
    lines = [f"{'':<6}" + "".join(f"{name:>22}" for name in found["all"])]
    for name, row in found.items():
        lines.append(f"{name:<6}" + "".join(f"{value:>22.1f}" for value in row.values()))
    return "\n".join(lines)


def main() -> int:
    """0 when each language has what the bench holds it to, and strangers and words too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, default=MODELS)
    given = parser.parse_args()
    judged = measure_sites(given.data, UnitReader.load(given.models))
    print(table_of(judged))
    found = figures(judged)
    are_correct = all(found[f"correct_{language}"][0] >= least for language, least in LEAST_CORRECT.items())
    return 0 if are_correct and found["strangers_answered"][0] <= 2 and found["words"][0] <= 30 else 1


if __name__ == "__main__":
    sys.exit(main())
