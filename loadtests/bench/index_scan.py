"""The peer of the index: what a few lines of numpy and rank_bm25 do; and what exact search finds. Next:
index_entries.py."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rank_bm25 import BM25Okapi

from loadtests.bench.index_corpus import WordVectors, make_question
from tidegate.services.knowledge.index import records
from tidegate.services.knowledge.index.database import IndexDatabase, read_head
from tidegate.services.knowledge.index.fusion import LEAST_DEPTH, fuse_rankings
from tidegate.services.knowledge.index.keyword import KeywordLeg, find_terms
from tidegate.services.knowledge.index.storage import Storage
from tidegate.services.knowledge.index.vectors import Matrix
from tidegate.services.knowledge.text_embedder import Vector

K = 10
Found = tuple[str, str, int]
_BATCH = 4_096


class PlainPipeline:
    """All passages in memory: BM25 over lists of terms, cosine over one matrix of their units' means, fused alike."""

    def __init__(self, path: Path) -> None:
        with IndexDatabase(Storage(path)).reading() as connection:
            self._numbers: list[int] = []
            terms, means = [], []
            for row in records.list_keyword_rows(connection):
                self._numbers.append(row.number)
                terms.append(find_terms(f"{row.head} {row.body}", row.language))
            for _, units in records.list_vectors(connection, 0):
                mean = units.mean(axis=0)
                means.append(mean / np.linalg.norm(mean))
        self._bm25 = BM25Okapi(terms)
        self._matrix = np.stack(means)

    def search(self, text: str, vector: Vector) -> list[int]:
        """The ten best passages' numbers."""
        words = _best(self._bm25.get_scores(list(find_terms(text, "en"))))
        near = _best(self._matrix @ vector)
        return [self._numbers[row] for row, _ in fuse_rankings(words, near)[:K]]


class ExactSearch:
    """What the index would find with no graph, and with a keyword leg that no passage was ever removed from."""

    def __init__(self, path: Path, aside: Path, documents: int, questions: int) -> None:
        texts = [make_question(number, documents) for number in range(questions)]
        embedder = WordVectors()
        shutil.rmtree(aside, ignore_errors=True)
        with IndexDatabase(Storage(path)).reading() as connection:
            leg = KeywordLeg(aside)
            leg.replace(records.list_keyword_rows(connection))
            near = _scan(connection, np.stack([embedder.embed(text) for text in texts]))
            self.found = [_describe(connection, leg, text, ranked) for text, ranked in zip(texts, near, strict=True)]
            self.live = {(entry.id, entry.version) for entry in records.list_entries(connection)}
            self.passages = read_head(connection).passages
            held = KeywordLeg(Storage(path).keyword(read_head(connection).keyword)).refresh().entries()
            self.is_leg_clean = held == records.list_marks(connection)
        shutil.rmtree(aside)


def _best(scores: np.ndarray[tuple[int], np.dtype[np.floating]]) -> list[int]:
    best = np.argpartition(-scores, K)[:K]
    return [int(row) for row in best[np.argsort(-scores[best])]]


def _scan(connection: sqlite3.Connection, vectors: Matrix) -> list[list[int]]:
    """For each vector the passages with the nearest units, of all there are."""
    numbers: list[int] = []
    scores: list[Matrix] = []
    first = 0
    while batch := records.find_vectors(connection, list(range(first, first + _BATCH))):
        first += _BATCH
        if batch[0]:
            numbers += batch[0]
            scores.append(np.maximum.reduceat(batch[2] @ vectors.T, batch[1], axis=0))
        if first > read_head(connection).next_number:
            break
    all_scores = np.concatenate(scores)
    return [[numbers[row] for row in _best(all_scores[:, column])] for column in range(len(vectors))]


def _describe(connection: sqlite3.Connection, leg: KeywordLeg, text: str, near: Sequence[int]) -> list[Found]:
    def places(numbers: list[int]) -> dict[int, tuple[str, int]]:
        return records.find_places(connection, numbers, "en")

    words = [number for number, _ in leg.refresh().search(text, "en", max(K, LEAST_DEPTH), places)]
    fused = [number for number, _ in fuse_rankings(words, list(near))[:K]]
    passages = records.find_passages(connection, fused)
    return [(each.document_id, each.document_version, each.start) for each in (passages[n] for n in fused)]
