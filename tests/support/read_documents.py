"""A reader with the shipped weights over a few documents, for what rests on meaning."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

from tests.support.paths import MODELS
from tidegate.schemas import Answer
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.calibration import SHIPPED
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.unit_reader import UnitReader

AskDocuments = Callable[[str, str], Answer]
"""The answer to a question in a language."""


def read_documents(directory: Path, *documents: Document) -> tuple[Reader, HybridIndex]:
    """The reader, on a day in November 2026, and the index of the documents."""
    units = UnitReader.load(MODELS)
    index = HybridIndex.open(directory, units.embedder)
    index.upsert(list(documents))
    return Reader(units, SHIPPED, today=lambda: date(2026, 11, 29)), index


def ask_documents(directory: Path, *documents: Document) -> AskDocuments:
    """What answers from them."""
    reader, index = read_documents(directory, *documents)
    return lambda question, language: (
        reader.rank_spans(question, language, index.find(question, 8, language), index).answer
    )
