"""Dead letters: what a stage could not settle, listed, shown, and sent on its way again."""

from __future__ import annotations

import json

import msgspec
import nats.errors
from nats.aio.client import Client

from tidegate.brokers.base import TopologyMissing, Unreachable
from tidegate.brokers.jetstream.history import Stored, message, messages
from tidegate.schemas.subjects import DEAD, dead_letter, stored_again

TIMEOUT_S = 5.0


class NoSuchLetter(LookupError):
    """There is no dead letter under this number."""


class DeadLetter(msgspec.Struct, frozen=True):
    """The original bytes, and who could not settle them, where, why, at which attempt.

    `seq` is its number in this domain. `stored_at_s` and `buried_at_s` are Unix time: when the message was stored where
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
    buried_at_s: float
    size_bytes: int
    data: bytes
    traceparent: str = ""


class Replay(msgspec.Struct, frozen=True):
    """Where a replayed letter lies now; `is_duplicate` when an earlier replay had put it there already."""

    seq: int
    subject: str
    stream: str
    sequence: int
    is_duplicate: bool


async def letters(nc: Client, stage: str | None = None) -> list[DeadLetter]:
    """The dead letters of this domain, oldest first; of one stage when it is named. Raises `TopologyMissing`."""
    return [_letter(stored) for stored in await messages(nc, DEAD, dead_letter(stage or "*", "*"))]


async def show(nc: Client, seq: int) -> DeadLetter:
    """One dead letter. Raises `NoSuchLetter`."""
    stored = await message(nc, DEAD, seq) if seq > 0 else None
    if stored is None:
        raise NoSuchLetter(f"no dead letter {seq}; list them to see which there are")
    return _letter(stored)


async def replay(nc: Client, seq: int, to: str = "") -> Replay:
    """Publish the original bytes again, under the original subject or under `to`; the letter itself stays.

    A verdict that died at a site goes into PIPE, since the site's VERDICTS is a mirror. The new message has an id of
    its own, so that it is not taken for the one that died; the same letter replayed twice within ten minutes is stored
    once. Raises `NoSuchLetter`, `TopologyMissing` when no stream here takes the subject, `Unreachable`.
    """
    letter = await show(nc, seq)
    subject = to or stored_again(letter.subject, letter.site)
    headers = {"Nats-Msg-Id": f"{letter.id}.replay.{seq}", "Tidegate-Cause": f"{DEAD}:{seq}"}
    if letter.traceparent:
        headers["traceparent"] = letter.traceparent
    try:
        reply = await nc.request(subject, letter.data, timeout=TIMEOUT_S, headers=headers)
    except nats.errors.NoRespondersError as error:
        raise TopologyMissing(f"no stream here takes {subject}; replay letter {seq} to another subject") from error
    except nats.errors.TimeoutError as error:
        raise Unreachable(
            f"letter {seq} may not be stored: no answer within {TIMEOUT_S:g} s; replay it again"
        ) from error
    answer = json.loads(reply.data)
    if "error" in answer:
        raise RuntimeError(f"letter {seq} was not stored under {subject}: {answer['error']['description']}")
    return Replay(seq, subject, answer["stream"], answer["seq"], answer.get("duplicate", False))


def _letter(stored: Stored) -> DeadLetter:
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
        buried_at_s=stored.stored_at_s,
        size_bytes=len(stored.data),
        data=stored.data,
        traceparent=headers.get("traceparent", ""),
    )
