"""What can be wrong with an index, by what is to be done about it. Next: database.py, which tells them apart."""

from __future__ import annotations

from pathlib import Path

from tidegate.brokers.process.sqlite_errors import SYSTEM_HINT
from tidegate.schemas import TidegateError


class IndexDamagedError(TidegateError):
    """A file of the index is missing or is not what was written."""

    hint = "remove the directory of the index and index the documents again"

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}; {self.hint}")


class OtherModelError(IndexDamagedError):
    """Another process, with another embedding model, has built the index again."""

    hint = "start this process again: all processes of a site are to have the same models"


class IndexLockedError(TidegateError):
    """Another process is writing to the index."""

    hint = "try again when the other process has ended"


class IndexUnusableError(TidegateError):
    """The system refused to read or write a file of the index; what the index holds is as it was before."""

    hint = SYSTEM_HINT

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"{path}: {reason}; {self.hint}")
