"""What goes wrong in the loops of a worker, kept by where it happens until it goes right again.

Promises that an error is seen in the worker's status as long as it lasts, and in the log once. Next: loops.py."""

from __future__ import annotations

import structlog

from tidegate.schemas.errors import TidegateError

_log = structlog.get_logger()


class Faults:
    """The faults of one worker of a domain, `sync` or another, that stand now, by what they are about: a loop's name,
    or `<tenant>/<collection>`."""

    def __init__(self, worker: str = "sync") -> None:
        self._worker = worker
        self._standing: dict[tuple[str, str], str] = {}

    def note(self, about: str, error: BaseException, source: str = "") -> None:
        """Something failed. The same again is not logged again."""
        reason = describe(error, self._worker)
        if self._standing.get((about, source)) != reason:
            self._standing[about, source] = reason
            unforeseen = None if isinstance(error, (TidegateError, OSError)) else error
            _log.warning(f"{self._worker}_fault", about=about, source=source, fault=reason, exc_info=unforeseen)

    def clear(self, about: str, source: str = "") -> None:
        """It works (again)."""
        if self._standing.pop((about, source), None) is not None:
            _log.info(f"{self._worker}_fault_over", about=about, source=source)

    def about(self, what: str) -> str:
        """What stands about one thing; empty: nothing."""
        return "; ".join(reason for (about, _), reason in sorted(self._standing.items()) if about == what)

    def all(self) -> tuple[str, ...]:
        """All that stands, each with what it is about."""
        return tuple(f"{about}: {reason}" for (about, _), reason in sorted(self._standing.items()))


def describe(error: BaseException, worker: str = "sync") -> str:
    """The reason as it is shown: that of an error of ours, the type of any other, whose text may quote a document."""
    if isinstance(error, TidegateError):
        return error.reason
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{type(error).__name__}, which nobody foresaw: see the log of the {worker} worker"
