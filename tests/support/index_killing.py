"""Changes that kill themselves at a line: `python -m tests.support.index_killing HOME EXACT_BELOW FIRST STEP`.

The first change of `index_life` is whole; a copy of it gets the second one, in a process that dies, by SIGKILL, when it
reaches a line of the writer for the first time: the FIRST of them, and every STEP-th after it. Each leaves a folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from tests.support.branch_index import LETTERS
from tests.support.index_life import change
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.index_writer import IndexChange

WATCHED = {
    "index_writer.py": {"apply", "_finish", "_forget"},
    "draft.py": {"close"},
    "database.py": {"writing", "_roll_back"},
    "keyword.py": {"_write"},
}


class Killer:
    """A tracer that kills its process at the first execution of the n-th line that is watched."""

    def __init__(self, n: int) -> None:
        self._left = n
        self._seen: set[tuple[str, int]] = set()

    def __call__(self, frame: FrameType, event: str, _argument: object) -> Any:
        name = os.path.basename(frame.f_code.co_filename)
        if frame.f_code.co_name not in WATCHED.get(name, ()):
            return None
        line = (name, frame.f_lineno)
        if event == "line" and line not in self._seen:
            self._seen.add(line)
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
        return self


def make_change(path: Path, exact_below: int, number: int, killer: Killer | None) -> None:
    index = HybridIndex.open(path, LETTERS, exact_below=exact_below)
    documents, gone = change(number)
    sys.settrace(killer)
    index.apply(IndexChange(documents=documents, deleted=gone, state={"position": str(number).encode()}))
    sys.settrace(None)
    index.close()


def run_forked(path: Path, exact_below: int, number: int, killer: Killer | None) -> bool:
    """Make a change in a process of its own, which has the modules loaded; returns whether it ended by itself."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            make_change(path, exact_below, number, killer)
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status > 0:
        raise RuntimeError(f"the change ended with {status}")
    return status == 0


def main(home: Path, exact_below: int, first: int, step: int) -> None:
    whole, n = home / "whole", first
    run_forked(whole, exact_below, 1, None)
    while True:
        shutil.copytree(whole, home / f"killed-{n}")
        if run_forked(home / f"killed-{n}", exact_below, 2, Killer(n)):
            return
        n += step


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
