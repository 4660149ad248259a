"""A process that changes an index until it is killed: `python -m tests.support.index_life PATH LIMIT FOLD_AT`.

It prints the number of each change before it makes it, and writes it beside the documents. What a number does to the
documents is `after(number)`, so whoever opens the index can tell what must be in it.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import structlog

from tests.support.branch_index import LETTERS
from tests.support.corpus import document
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.index_writer import IndexChange

NAMES = [f"d{number}" for number in range(12)]


def change(number: int) -> tuple[list[Document], list[str]]:
    """What this change adds or replaces, and what it deletes."""
    rng = random.Random(number)
    names = rng.sample(NAMES, 5)
    text = f"Lantern of change {number}.\n\n## More\n\nHarbour ferry, in {number}."
    return [document(name, f"# {name}\n\n{text}") for name in names[:3]], names[3:]


def after(number: int) -> dict[str, str]:
    """The versions of the documents after so many changes, by id."""
    live: dict[str, str] = {}
    for each in range(1, number + 1):
        documents, gone = change(each)
        live = {name: version for name, version in live.items() if name not in gone}
        live |= {one.id: one.version for one in documents}
    return live


def main(path: Path, exact_below: int, fold_at: int) -> None:
    """Go on where the last one was killed."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # stdout is for the changes
    index = HybridIndex.open(path, LETTERS, exact_below=exact_below, fold_at=fold_at)
    number = int(index.state("position") or b"0")
    while True:
        number += 1
        documents, gone = change(number)
        print(f"change {number}", flush=True)
        index.apply(IndexChange(documents=documents, deleted=gone, state={"position": str(number).encode()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
