"""Processes that kill themselves, by SIGKILL, at a line: what a crash there leaves is then looked at by the test."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any


class LineKiller:
    """A tracer that kills its process at the first execution of the n-th line that is watched; `watched` are the names
    of functions by the name of their file."""

    def __init__(self, watched: Mapping[str, set[str]], n: int) -> None:
        self._watched = watched
        self._left = n
        self._seen: set[tuple[str, int]] = set()

    def __call__(self, frame: FrameType, event: str, _argument: object) -> Any:
        name = os.path.basename(frame.f_code.co_filename)
        if frame.f_code.co_name not in self._watched.get(name, ()):
            return None
        line = (name, frame.f_lineno)
        if event == "line" and line not in self._seen:
            self._seen.add(line)
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
        return self


def run_forked(work: Callable[[], object], killer: LineKiller | None) -> bool:
    """Do work in a process of its own, which has the modules loaded; returns whether it ended by itself."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            sys.settrace(killer)
            work()
            sys.settrace(None)
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status > 0:
        raise RuntimeError(f"the work ended with {status}")
    return status == 0
