"""What a dead letter says beside the original bytes: who could not settle it, where it lay, and why."""

from __future__ import annotations

from pathlib import Path

from tidegate.brokers.base import Delivery
from tidegate.schemas import RejectError, RetryLaterError, UnreadableError

MAX_REASON_CHARS = 500


def headers_of(delivery: Delivery, stage: str, site: str, error: BaseException) -> dict[str, str]:
    """The headers of a dead letter; its id is the same whenever the same delivery is buried again by the same stage."""
    sequence = delivery.place.rsplit(":", 1)[-1]
    headers = {
        "Nats-Msg-Id": f"{delivery.id}.{stage}.dead.{sequence}",
        "Dead-Stage": stage,
        "Dead-Site": site,
        "Dead-Reason": reason_of(error),
        "Dead-Subject": delivery.subject,
        "Dead-Attempt": str(delivery.attempt),
        "Dead-Id": delivery.id,
        "Dead-Stored-At": f"{delivery.stored_at_s:.3f}",
    }
    if traceparent := delivery.headers.get("traceparent"):
        headers["traceparent"] = traceparent
    return headers


def reason_of(error: BaseException) -> str:
    """One line of printable ASCII, at most 500 characters.

    Only reasons that this house or its operating system wrote are given in words; any other error's text may quote
    what a person asked, so it is known by its type and the place where it was raised.
    """
    name = type(error).__name__
    if isinstance(error, (RejectError, RetryLaterError, UnreadableError)):
        text = f"{name}: {error.reason}"
    elif isinstance(error, OSError) and str(error):
        text = f"{name}: {error}"
    else:
        text = f"{name} at {place_of(error)}"
    printable = "".join(char if " " <= char <= "~" else "?" for char in " ".join(text.split()))
    return printable[:MAX_REASON_CHARS]


def place_of(error: BaseException) -> str:
    """The file and line that raised it."""
    trace, place = error.__traceback__, "an unknown place"
    while trace is not None:
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
