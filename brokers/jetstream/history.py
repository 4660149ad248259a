"""What the streams hold, read without a consumer: all facts of one request are a handful of direct gets.

Next: dead_letters.py and bus.py, which read by it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from tidegate.brokers.base import StoredMessage, TopologyMissingError, UnreachableError
from tidegate.brokers.jetstream.connection import GONE, NO_RESPONDERS
from tidegate.brokers.process.tasks import not_losing_cancellation
from tidegate.schemas import TidegateError
from tidegate.schemas.subjects import history_of

PAGE = 256
TIMEOUT_S = 5.0
END_OF_PAGE, NOT_FOUND = "204", "404"
_RID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class BadRidError(TidegateError, ValueError):
    """The text is no request id."""

    hint = "an id is 1 to 64 of A-Z a-z 0-9 _ -"


async def history(nc: Client, rid: str, tenant: str = "*", site: str = "*") -> list[StoredMessage]:
    """Every fact of one request that this domain still holds, oldest first; empty for a request it never saw.

    Raises `TopologyMissingError` when the domain has none of the streams, `UnreachableError`, and `BadRidError` for a
    `rid` that is not one subject token.
    """
    if _RID.fullmatch(rid) is None:
        raise BadRidError(f"{rid!r} is no request id")
    found: list[StoredMessage] = []
    missing = []
    sources = history_of(rid, tenant, site)
    for source in sources:
        try:
            found += await messages(nc, source.stream, source.filter)
        except TopologyMissingError:  # the hub has neither ASKS nor PIPE nor ANSWERS
            missing.append(source.stream)
    if len(missing) == len(sources):
        raise TopologyMissingError(f"this domain has none of {', '.join(missing)}")
    return sorted(found, key=lambda stored: stored.stored_at_s)


async def messages(nc: Client, stream: str, subject: str, after: int = 0) -> list[StoredMessage]:
    """Everything in `stream` under `subject` (wildcards allowed) after the sequence `after`, oldest first.

    Batched direct gets (NATS ADR-31). Raises `TopologyMissingError` when there is no such stream, `UnreachableError`.
    """
    found: list[StoredMessage] = []
    while True:
        after = found[-1].sequence if found else after
        page = await first_messages(nc, stream, subject, after, PAGE)
        found += page
        if len(page) < PAGE:
            return found


async def first_messages(nc: Client, stream: str, subject: str, after: int, most: int) -> list[StoredMessage]:
    """The first `most` of `messages`, whose errors it raises."""
    async with _replies(nc) as replies:
        body = {"seq": after + 1, "batch": most, "next_by_subj": subject}
        await nc.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(body).encode(), reply=replies.subject)
        return await _page(replies, stream)


async def first_since(nc: Client, stream: str, subject: str, since_s: float) -> list[StoredMessage]:
    """The first page of what was stored since that Unix time; with its last sequence `first_messages` goes on. Raises
    as `messages` does."""
    async with _replies(nc) as replies:
        start = datetime.fromtimestamp(since_s, UTC).isoformat().replace("+00:00", "Z")
        body = {"start_time": start, "batch": PAGE, "next_by_subj": subject}
        await nc.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(body).encode(), reply=replies.subject)
        return await _page(replies, stream)


async def message(nc: Client, stream: str, sequence: int) -> StoredMessage | None:
    """The message at `sequence`, or None where there is none (any more). Raises as `messages` does."""
    async with _replies(nc) as replies:
        body = json.dumps({"seq": sequence}).encode()
        await nc.publish(f"$JS.API.DIRECT.GET.{stream}", body, reply=replies.subject)
        reply = await _next(replies, stream)
    return None if _status(reply, stream) else _stored(reply)


async def last_message(nc: Client, stream: str, subject: str) -> StoredMessage | None:
    """The newest message under the subject (wildcards allowed), or None. Raises as `messages` does."""
    async with _replies(nc) as replies:
        await nc.publish(f"$JS.API.DIRECT.GET.{stream}.{subject}", reply=replies.subject)
        reply = await _next(replies, stream)
    return None if _status(reply, stream) else _stored(reply)


@asynccontextmanager
async def _replies(nc: Client) -> AsyncIterator[Subscription]:
    try:
        subscription = await nc.subscribe(nc.new_inbox())
        try:
            yield subscription
        finally:
            if not nc.is_closed:
                await subscription.unsubscribe()
    except GONE as error:
        raise UnreachableError("the connection closed during a direct get") from error


async def _page(replies: Subscription, stream: str) -> list[StoredMessage]:
    page: list[StoredMessage] = []
    while not _status(reply := await _next(replies, stream), stream):
        page.append(_stored(reply))
    return page


async def _next(replies: Subscription, stream: str) -> Msg:
    try:
        return await not_losing_cancellation(replies.next_msg(timeout=TIMEOUT_S))
    except TimeoutError as error:
        raise UnreachableError(f"{stream} did not answer a direct get within {TIMEOUT_S:g} s") from error


def _status(reply: Msg, stream: str) -> str:
    """The status of a reply that is no message: the end. Raises where it says that something is wrong."""
    headers = reply.headers or {}
    status = "" if "Nats-Sequence" in headers else headers.get("Status", "")
    if status == NO_RESPONDERS:
        raise TopologyMissingError(f"no stream {stream} here that allows direct gets")
    if status not in ("", END_OF_PAGE, NOT_FOUND):
        raise UnreachableError(f"direct get of {stream}: {status} {headers.get('Description', '')}")
    return status


def _stored(reply: Msg) -> StoredMessage:
    headers = dict(reply.headers or {})
    for about_the_batch in ("Nats-Num-Pending", "Nats-Last-Sequence"):
        headers.pop(about_the_batch, None)
    return StoredMessage(
        stream=headers.pop("Nats-Stream"),
        sequence=int(headers.pop("Nats-Sequence")),
        stored_at_s=datetime.fromisoformat(headers.pop("Nats-Time-Stamp")).timestamp(),
        subject=headers.pop("Nats-Subject"),
        headers=headers,
        data=bytes(reply.data),
    )
