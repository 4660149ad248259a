"""The one error of this room. Next: read.py, which raises it."""

from __future__ import annotations

from tidegate.schemas import TidegateError


class FileUnreadError(TidegateError, ValueError):
    """A file cannot be read as a document: it is broken, protected, empty, too large, or of a kind that is not read."""

    hint = "open it in the program that made it and save it again, or take it away"
