"""The dead letters of a domain: read, listed, and published again. Next: history.py, by which streams are read."""

from __future__ import annotations

import json

import msgspec
import nats.errors
from nats.aio.client import Client

from tidegate.brokers.base import StoredMessage, TopologyMissingError, UnreachableError
from tidegate.brokers.jetstream.history import message, messages
from tidegate.brokers.process.tasks import not_losing_cancellation
from tidegate.schemas import TidegateError
from tidegate.schemas.subjects import DEAD, dead_letter, replay_subject

TIMEOUT_S = 5.0


class DeadLetter(msgspec.Struct, frozen=True):
    """The original bytes, and who could not settle them, where, why, at which attempt.

    `seq` is its number in this domain. `stored_at_s` and `dead_at_s` are Unix time: when the message was stored where
    the stage read it, and when the stage gave it up.
    """

    seq: int
    stage: str
    site: str
    reason: str
    subject: str
    attempt: int
    id: str
    stored_at_s: float
    dead_at_s: float
    size_bytes: int
    data: bytes
    traceparent: str = ""


class DeadLetterNotFoundError(TidegateError, LookupError):
    """There is no dead letter under this number."""

    hint = "list the dead letters to see which there are"


class ReplayRefusedError(TidegateError, RuntimeError):
    """The stream refused to store a dead letter again."""

    hint = "see what the server says; `tidegate topology plan` shows whether the streams are as declared"


class Replay(msgspec.Struct, frozen=True):
    """Where a replayed dead letter is stored now; `is_duplicate` when an earlier replay had put it there already."""

    seq: int
    subject: str
    stream: str
    sequence: int
    is_duplicate: bool


async def list_dead_letters(nc: Client, stage: str | None = None) -> list[DeadLetter]:
    """The dead letters of this domain, oldest first; of one stage when it is named. Raises `TopologyMissingError`."""
    return [_letter(stored) for stored in await messages(nc, DEAD, dead_letter(stage or "*", "*"))]


async def get_dead_letter(nc: Client, seq: int) -> DeadLetter:
    """One dead letter. Raises `DeadLetterNotFoundError`."""
    stored = await message(nc, DEAD, seq) if seq > 0 else None
    if stored is None:
        raise DeadLetterNotFoundError(f"there is no dead letter {seq}")
    return _letter(stored)


async def replay_dead_letter(nc: Client, seq: int, to: str = "") -> Replay:
    """Publish the original bytes again, under the original subject or under `to`; the dead letter itself stays.

    A verdict that died at a site goes into PIPE, since the site's VERDICTS is a mirror. The new message has an id of
    its own, so that it is not taken for the one that died; the same dead letter replayed twice within ten minutes is
    stored once. Raises `DeadLetterNotFoundError`, `TopologyMissingError` when no stream here takes the subject,
    `ReplayRefusedError` when one refuses it, `UnreachableError`.
    """
    letter = await get_dead_letter(nc, seq)
    subject = to or replay_subject(letter.subject, letter.site)
    headers = {"Nats-Msg-Id": f"{letter.id}.replay.{seq}", "Tidegate-Cause": f"{DEAD}:{seq}"}
    if letter.traceparent:
        headers["traceparent"] = letter.traceparent
    try:
        reply = await not_losing_cancellation(nc.request(subject, letter.data, timeout=TIMEOUT_S, headers=headers))
    except nats.errors.NoRespondersError as error:
        raise TopologyMissingError(f"no stream here takes {subject}", f"replay {seq} to another subject") from error
    except nats.errors.TimeoutError as error:
        reason = f"dead letter {seq} may not be stored: no answer within {TIMEOUT_S:g} s"
        raise UnreachableError(reason, "replay it again") from error
    answer = json.loads(reply.data)
    if "error" in answer:
        raise ReplayRefusedError(f"dead letter {seq} was not stored under {subject}: {answer['error']['description']}")
    return Replay(seq, subject, answer["stream"], answer["seq"], answer.get("duplicate", False))


def _letter(stored: StoredMessage) -> DeadLetter:
    headers = stored.headers
    return DeadLetter(
        seq=stored.sequence,
        stage=headers.get("Dead-Stage", stored.subject.split(".")[1]),
        site=headers.get("Dead-Site", ""),
        reason=headers.get("Dead-Reason", ""),
        subject=headers.get("Dead-Subject", ""),
        attempt=int(headers.get("Dead-Attempt", "0")),
        id=headers.get("Dead-Id", ""),
        stored_at_s=float(headers.get("Dead-Stored-At", "0")),
        dead_at_s=stored.stored_at_s,
        size_bytes=len(stored.data),
        data=stored.data,
        traceparent=headers.get("traceparent", ""),
    )
