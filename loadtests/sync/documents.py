"""Documents as an author writes them, with vectors that no model made: unit vectors of chance, which an index takes.

Promises one vector for each unit of the text, so that nobody embeds anything. Next: worker.py, whose model they name.
"""

from __future__ import annotations

import functools
import random

import numpy as np

from loadtests.sync.domains import MODEL
from tidegate.schemas.sync import DocumentContent, Vectors
from tidegate.services.knowledge.embedding import read_version
from tidegate.services.knowledge.index.chunking import cut_into_chunks
from tidegate.services.knowledge.index.embedded import units_in
from tidegate.services.knowledge.index.vectors import DIMENSIONS
from tidegate.services.knowledge.replica.content import name_model, pack_vectors
from tidegate.services.knowledge.text_embedder import TextRole, Vector

WORDS = 60
LEXICON = tuple(
    f"{first}{last}" for first in ("bal", "cre", "dor", "fin", "gal") for last in ("ance", "dit", "eon", "ial")
)


class LazyModel:
    """Names the model that the vectors say they are of, and embeds nothing; a `TextEmbedder`."""

    def __init__(self) -> None:
        self.version = read_version(MODEL.parent)

    def embed(self, text: str, role: TextRole = "query") -> Vector:
        """Never asked: every document comes with its vectors."""
        raise AssertionError(f"{role} {text[:20]!r} came without vectors")


def document(token: str, words: int = WORDS, **meta: str) -> DocumentContent:
    """A text of so many words that begins with the token, the same for the same token."""
    dice = random.Random(token)
    text = " ".join((token, *(dice.choice(LEXICON) for _ in range(words - 1))))
    return DocumentContent(title="Hours", language="en", text=text, meta=meta, vectors=vectors_of(text))


def vectors_of(text: str) -> Vectors:
    """Unit vectors, one for each unit of the text."""
    units = units_in(tuple(cut_into_chunks(text)))
    matrix = np.random.default_rng(len(text)).standard_normal((units, DIMENSIONS), np.float32)
    return pack_vectors(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), _model())


@functools.cache
def _model() -> str:
    return name_model(read_version(MODEL.parent))
