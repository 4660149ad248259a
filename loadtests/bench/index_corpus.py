"""A corpus of any size for the bench of the index: made texts, and vectors that need no model. Next: index_probe.py.

This measures the index, not a model: 100 000 documents cannot be embedded here in the time. A text is about one of
many subjects: a third of its words are the subject's own, the others come from all by Zipf's law. A vector is the sum
of fixed random vectors, one for each of the text's words, a rarer word counting more, at unit length: nearness is the
share of rare words in common, as a random projection keeps it (Johnson & Lindenstrauss 1984). Their variance falls
along the dimensions as that of the shipped model's vectors of the kiosk does: i^-0.46 e^(-0.0091 i), fitted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.vectors import DIMENSIONS
from tidegate.services.knowledge.text_embedder import TextRole, Vector

PLACE = Path(".tidegate") / "bench-index"
"""Where corpora are kept: a large one takes a quarter of an hour to make."""
WORDS = 30_000
SUBJECTS = 2_000
OWN_WORDS = 40
SENTENCES, SENTENCE_WORDS = 20, 15
BATCH = 1_000


class WordVectors:
    """Embeds a text by its words; see this module."""

    version = "words-2"

    def __init__(self) -> None:
        self._table = np.random.default_rng(1).normal(size=(WORDS, DIMENSIONS)).astype(np.float32)
        self._table *= np.log(2.0 + np.arange(WORDS, dtype=np.float32))[:, None]
        axis = np.arange(1, DIMENSIONS + 1, dtype=np.float32)
        self._table *= np.sqrt(axis**-0.46 * np.exp(-0.0091 * axis))

    def embed(self, text: str, role: TextRole = "query") -> Vector:  # noqa: ARG002 - one for both
        rows = [
            int(word[1:]) for word in text.casefold().replace(".", "").replace(":", "").split() if word[1:].isdigit()
        ]
        total: Vector = self._table[rows].sum(axis=0) if rows else self._table[0]
        return total / np.linalg.norm(total)


@lru_cache(maxsize=1)
def _shares() -> NDArray[np.float64]:
    weights = 1.0 / (10.0 + np.arange(WORDS))
    return np.cumsum(weights / weights.sum())


def make_document(number: int, edition: int = 0) -> Document:
    """The text of this number: 300 words in 20 sentences, in three passages. Another edition is another text."""
    drawn = np.random.default_rng((number, edition))
    subject = int(drawn.integers(SUBJECTS))
    own = np.random.default_rng((7, subject)).integers(100, WORDS, OWN_WORDS)
    size = SENTENCES * SENTENCE_WORDS
    words = np.searchsorted(_shares(), drawn.random(size))
    is_own = drawn.random(size) < 0.33
    words[is_own] = own[drawn.integers(0, OWN_WORDS, int(is_own.sum()))]
    sentences = (
        " ".join(f"w{word}" for word in words[start : start + SENTENCE_WORDS]).capitalize() + "."
        for start in range(0, size, SENTENCE_WORDS)
    )
    text = " ".join(sentences)
    version = hashlib.sha256(text.encode()).hexdigest()[:12]
    title = f"w{own[0]} w{own[1]}"
    return Document(id=f"d{number}", title=title, language="en", scope="shared", text=text, version=version)


def make_question(number: int, documents: int) -> str:
    """What is asked about a document that was not replaced: eight words of one of its sentences, and two others."""
    drawn = np.random.default_rng((11, number))
    document = make_document(2 * int(drawn.integers(documents // 2)) + 1)
    sentences = document.text.split(". ")
    words = sentences[int(drawn.integers(len(sentences)))].rstrip(".").lower().split()
    others = [f"w{word}" for word in np.searchsorted(_shares(), drawn.random(2))]
    return " ".join([*drawn.permutation(words)[:8].tolist(), *others])


def batches(documents: int, edition: int, step: int) -> Iterator[list[Document]]:
    """Every `step`th document, in batches."""
    numbers = range(0, documents, step)
    for start in range(0, len(numbers), BATCH):
        yield [make_document(number, edition) for number in numbers[start : start + BATCH]]


def corpus(documents: int) -> Path:
    """The directory of an index of so many documents, half of which were replaced, made where there is none.

    A tenth of those that were replaced is then deleted.
    """
    path = PLACE / str(documents)
    index = HybridIndex.open(path, WordVectors())
    if index.state("made") != b"1":
        for edition, step in ((0, 1), (1, 2)):
            for batch in batches(documents, edition, step):
                index.upsert(batch)
        index.delete([f"d{number}" for number in range(0, documents, 20)])
        index.wait_for_compaction()
        index.delete([], state={"made": b"1"})
    index.close()
    return path
