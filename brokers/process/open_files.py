"""How many files and connections this process may have open at once: the most that the system grants, and how many.

Next: lifecycle.py, which asks for it before anything is opened."""

from __future__ import annotations

import resource

import msgspec


class OpenFiles(msgspec.Struct, frozen=True):
    """The soft limit before and now, and the hard one; -1: none."""

    before: int
    now: int
    hard: int


def raise_open_files() -> OpenFiles:
    """Raise the soft limit to the hard one. Python and most libraries never use `select`, for which alone systems keep
    it low. Raises `OSError` where the system refuses what it says is allowed."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return OpenFiles(before, resource.getrlimit(resource.RLIMIT_NOFILE)[0], hard)
