"""An index of the branch's documents that needs no model, and what a question finds in it."""

from __future__ import annotations

from pathlib import Path

from tests.support.corpus import BRANCH, Letters
from tidegate.services.knowledge.index.hybrid import HybridIndex

LETTERS = Letters()


def branch_index(path: Path) -> HybridIndex:
    index = HybridIndex.open(path, LETTERS)
    index.upsert(BRANCH)
    return index


def found(index: HybridIndex, text: str, k: int = 8, language: str = "en") -> list[str]:
    return [passage.document_id for passage in index.search(text, LETTERS.embed(text), k, language)]
