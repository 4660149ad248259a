"""How often a unit that answers is among the best, by kind of question: of the shipped graphs, written to a file.

Next: training/contrastive.py, which watches the same while it tunes.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.infra.models.data.keyword_scores import KeywordScores
from tidegate.infra.models.data.mixture import load_mixture
from tidegate.infra.models.data.qa import QaQuestion, QaSet
from tidegate.infra.models.evaluation.site import Models

DEPTHS = (1, 8, 20)

Vectors = Callable[[Sequence[str], str], NDArray[np.float32]]
"""Unit vectors of texts, given as `query` or as `passage`."""
Table = dict[str, tuple[float, ...]]


class Searched:
    """One corpus with its vectors and its words, and what was asked of it."""

    def __init__(self, data: QaSet, corpus: str, questions: Sequence[QaQuestion], vectors: Vectors) -> None:
        self.data = data
        self.questions = tuple(questions)
        self.units = data.units(corpus)
        self.lines = [data.documents[document].line(number) for document, number in self.units]
        self.languages = [data.documents[document].language for document, _ in self.units]
        self.vectors = vectors(self.lines, "passage")
        self.cosines = vectors([each.text for each in questions], "query") @ self.vectors.T
        self.keywords = KeywordScores(self.lines, self.languages)
        self.keyword_scores = [self.keywords.score(each.text) for each in questions]

    def gold(self, question: QaQuestion) -> NDArray[np.bool_]:
        """Which units answer."""
        return np.array([document == question.document and number in question.gold for document, number in self.units])

    def ranks(self, scores: Sequence[NDArray[np.float64]]) -> list[tuple[str, int]]:
        """For each question with an answer its kind and the rank, from 0, of the best unit that answers."""
        found = []
        for question, each in zip(self.questions, scores, strict=True):
            if question.gold:
                best = each[self.gold(question)].max()
                found.append((question.kind, int((each > best).sum())))
        return found

    def fused(self) -> list[NDArray[np.float64]]:
        """Cosine plus BM25 relative to its best by the weight that was found best for untuned e5; a first look only."""
        return [
            cosines + 0.35 * held * scores / max(scores.max(), 1e-9)
            for cosines, (scores, held) in zip(self.cosines, self.keyword_scores, strict=True)
        ]


def search_all(data: QaSet, questions: Sequence[QaQuestion], vectors: Vectors) -> list[Searched]:
    """Every corpus that is asked anything, with its questions."""
    by_corpus: dict[str, list[QaQuestion]] = defaultdict(list)
    for question in questions:
        by_corpus[data.documents[question.document].corpus].append(question)
    return [Searched(data, corpus, asked, vectors) for corpus, asked in by_corpus.items()]


def recall(ranks: Sequence[tuple[str, int]]) -> Table:
    """For each kind, and for `all`: the share of ranks below each of `DEPTHS`, and the number of questions."""
    by_kind: dict[str, list[int]] = defaultdict(list)
    for kind, rank in ranks:
        by_kind[kind].append(rank)
        by_kind["all"].append(rank)
    return {
        kind: (*(float(np.mean(np.array(found) < depth)) for depth in DEPTHS), float(len(found)))
        for kind, found in by_kind.items()
    }


def rendered(table: Table) -> str:
    """One line: kind @1/@8/@20."""
    return " | ".join(
        f"{kind} " + "/".join(f"{share:.2f}" for share in row[:-1]) for kind, row in sorted(table.items())
    )


def mixed(data: QaSet) -> QaSet:
    """The same documents searched all together."""
    documents = {name: msgspec.structs.replace(each, corpus="all") for name, each in data.documents.items()}
    return QaSet(documents, data.questions)


def measure(sets: dict[str, tuple[QaSet, tuple[QaQuestion, ...]]], vectors: Vectors) -> dict[str, dict[str, Table]]:
    """For each set the recall by cosine alone and with BM25."""
    found = {}
    for name, (data, questions) in sets.items():
        corpora = search_all(data, questions, vectors)
        alone = recall([rank for each in corpora for rank in each.ranks(list(each.cosines.astype(float)))])
        fused = recall([rank for each in corpora for rank in each.ranks(each.fused())])
        found[name] = {"alone": alone, "fused": fused}
        print(f"{name}\n  alone {rendered(alone)}\n  fused {rendered(fused)}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the directory that holds qa, xquad and squad2")
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="built directories to compare")
    parser.add_argument("--out", type=Path, required=True, help="the figures.json to write")
    arguments = parser.parse_args()
    sets = load_mixture(arguments.data).dev
    own, questions = sets["own"]
    sets["own-mixed"] = (mixed(own), questions)
    figures = {}
    for directory in arguments.models:
        print(directory, flush=True)
        figures[directory.name] = measure(sets, Models(directory).vectors)
    arguments.out.write_text(json.dumps({"depths": DEPTHS, "recall": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
