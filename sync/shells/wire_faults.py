"""Errors on their way to another domain or process, and raised again there as what they were.

Only the code, the reason and the hint travel; an error of a kind that is not known here is a `PeerFaultError`.
Next: hub_requests.py, hub_endpoints.py."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.schemas.errors import RetryLaterError, TidegateError
from tidegate.schemas.replica import ReplicaFault

RETRY_AFTER_S = 0.2


class PeerFaultError(TidegateError):
    """The other side could not do it, for a reason that this version has no name for."""

    hint = "see the log of the other side's sync worker; both sides must run versions that know each other's messages"


def fault_of(error: BaseException) -> ReplicaFault:
    """The error as a message. One that nobody foresaw tells its type only: its text may quote a document."""
    if isinstance(error, TidegateError):
        return ReplicaFault(code=error.code, reason=error.reason, hint=error.hint)
    reason = str(error) if isinstance(error, OSError) else ""
    return ReplicaFault(code="peer_fault", reason=f"{type(error).__name__} {reason}".strip(), hint=PeerFaultError.hint)


def error_of(fault: ReplicaFault) -> TidegateError:
    """The error that a message tells of, to be raised."""
    if fault.code == RetryLaterError.code:
        return RetryLaterError(fault.reason, RETRY_AFTER_S, fault.hint)
    kind = next((each for each in _kinds(TidegateError) if each.code == fault.code), PeerFaultError)
    return kind(fault.reason, fault.hint)


def _kinds(base: type[TidegateError]) -> Iterator[type[TidegateError]]:
    """All errors that are made of a reason and a hint alone."""
    for kind in base.__subclasses__():
        if kind.__init__ is TidegateError.__init__:
            yield kind
        yield from _kinds(kind)
