"""Changes that kill themselves at a line: `python -m tests.support.index_killing HOME EXACT_BELOW FIRST STEP`.

The first change of `index_life` is whole; a copy of it gets the second one, in a process that dies, by SIGKILL, when it
reaches a line of the writer for the first time: the FIRST of them, and every STEP-th after it. Each leaves a folder.
"""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

from tests.support.branch_index import LETTERS
from tests.support.index_life import change
from tests.support.line_killer import LineKiller, run_forked
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.index_writer import IndexChange

WATCHED = {
    "index_writer.py": {"apply", "_finish", "_forget"},
    "draft.py": {"close"},
    "database.py": {"writing", "_roll_back"},
    "keyword.py": {"_write"},
}


def make_change(path: Path, exact_below: int, number: int) -> None:
    index = HybridIndex.open(path, LETTERS, exact_below=exact_below)
    documents, gone = change(number)
    index.apply(IndexChange(documents=documents, deleted=gone, state={"position": str(number).encode()}))
    index.close()


def main(home: Path, exact_below: int, first: int, step: int) -> None:
    whole, n = home / "whole", first
    run_forked(partial(make_change, whole, exact_below, 1), None)
    while True:
        killed = home / f"killed-{n}"
        shutil.copytree(whole, killed)
        if run_forked(partial(make_change, killed, exact_below, 2), LineKiller(WATCHED, n)):
            return
        n += step


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
