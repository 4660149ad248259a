"""What tantivy says of files that it cannot read, as errors of ours: it panics over a torn one.

Promises that no panic leaves the keyword leg. Next: keyword.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tidegate.schemas import TidegateError


class KeywordLegDamagedError(TidegateError, ValueError):
    """A file of a keyword leg cannot be read as what tantivy wrote."""

    hint = "nothing needs doing: the leg is made anew when the index is opened, changed or verified the next time"


@contextmanager
def raising_value_errors() -> Iterator[None]:
    """What tantivy makes of a torn file is a Rust panic, which is no `Exception`."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise KeywordLegDamagedError(str(error)) from error


class CheckedSearcher:
    """A searcher whose errors and panics are ours."""

    def __init__(self, searcher: Any) -> None:
        self._searcher = searcher
        self.num_docs = int(searcher.num_docs)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                with raising_value_errors():
                    return getattr(self._searcher, name)(*args, **kwargs)
            except KeywordLegDamagedError:
                raise
            except ValueError as error:  # what it says where it notices
                raise KeywordLegDamagedError(str(error)) from error

        return call
