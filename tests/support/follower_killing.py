"""A follower that kills itself at a line: `python -m tests.support.follower_killing HOME EXACT_BELOW FIRST STEP`.

HOME has a store and an index that has followed half of it. A copy of the index is brought to the rest in a process that
dies, by SIGKILL, when it reaches a line of the writers for the first time: the FIRST of them, and every STEP-th after.
"""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

from tests.support import index_killing
from tests.support.branch_index import LETTERS
from tests.support.line_killer import LineKiller, run_forked
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.replica import index_follower
from tidegate.services.knowledge.replica.index_follower import IndexFollower
from tidegate.sync.store import ReplicaStore

WATCHED = {
    **index_killing.WATCHED,
    "index_follower.py": {"_follow", "_bring"},
    "sources.py": {"put_sources", "remove_sources"},
}


def follow(store: Path, index: Path, exact_below: int) -> None:
    """Follow in two batches."""
    index_follower.BATCH = 2
    opened = HybridIndex.open(index, LETTERS, exact_below=exact_below)
    IndexFollower(ReplicaStore(store, "hub", "c" * 16), opened).follow("documents")


def main(home: Path, exact_below: int, first: int, step: int) -> None:
    n = first
    while True:
        index = home / f"killed-{n}"
        shutil.copytree(home / "index", index)
        work = partial(follow, home / "hub" / "sync.db", index, exact_below)
        if run_forked(work, LineKiller(WATCHED, n)):
            return
        n += step


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
