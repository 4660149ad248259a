"""Dead letters: what a stage could not settle, as headers beside the original bytes.

Next: jetstream/dead_letters.py, which reads, lists and replays them."""

from __future__ import annotations

from pathlib import Path

from tidegate.brokers.base import Delivery
from tidegate.brokers.stage import ForbiddenMessageError
from tidegate.schemas import RejectError, RetryLaterError, UnreadableError
from tidegate.schemas.subject_claims import TRACEPARENT, claim_of
from tidegate.schemas.subjects import dead_letter, rid_of

MAX_REASON_CHARS = 500
NO_REQUEST = "none"
"""In the place of a request id, where a message that may not be kept names none."""


def is_kept(error: BaseException) -> bool:
    """Whether the bytes of what was given up for this may be kept."""
    return not isinstance(error, ForbiddenMessageError)


def dead_letter_subject(delivery: Delivery, stage: str, error: BaseException) -> str:
    """Where the dead letter is stored."""
    claim = claim_of(delivery.subject)
    rid = rid_of(delivery.subject) if is_kept(error) else claim.rid if claim is not None else NO_REQUEST
    return dead_letter(stage, rid)


def dead_letter_headers(delivery: Delivery, stage: str, site: str, error: BaseException) -> dict[str, str]:
    """The headers of a dead letter; its id is the same whenever the same stage gives up the same delivery again.

    Where nothing of the message may be kept, neither is an id that somebody else has chosen, nor a subject that is not
    of the fixed form.
    """
    sequence = delivery.position.rsplit(":", 1)[-1]
    headers = {
        "Nats-Msg-Id": f"{delivery.id}.{stage}.dead.{sequence}",
        "Dead-Stage": stage,
        "Dead-Site": site,
        "Dead-Reason": describe_reason(error),
        "Dead-Subject": delivery.subject if is_kept(error) or claim_of(delivery.subject) is not None else "",
        "Dead-Attempt": str(delivery.attempt),
        "Dead-Id": delivery.id if is_kept(error) else "",
        "Dead-Stored-At": f"{delivery.stored_at_s:.3f}",
    }
    if TRACEPARENT.match(traceparent := delivery.headers.get("traceparent", "")):
        headers["traceparent"] = traceparent
    return headers


def describe_reason(error: BaseException) -> str:
    """One line of printable ASCII, at most 500 characters.

    Only reasons that this product or its operating system wrote are given in words; any other error's text may quote
    what a person asked, so it is described by its type and the line that raised it.
    """
    name = type(error).__name__
    if isinstance(error, (RejectError, RetryLaterError, UnreadableError)):
        text = f"{name}: {error.reason}"
    elif isinstance(error, OSError) and str(error):
        text = f"{name}: {error}"
    else:
        text = f"{name} at {line_of(error)}"
    printable = "".join(char if " " <= char <= "~" else "?" for char in " ".join(text.split()))
    return printable[:MAX_REASON_CHARS]


def line_of(error: BaseException) -> str:
    """The file and line that raised it."""
    trace, line = error.__traceback__, "an unknown line"
    while trace is not None:
        line = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return line
