"""JetStream's own API, as JSON in and out: what a domain has, and what it is configured to have.

Next: declare.py, which uses it to make a domain what it must be."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import nats.errors
from nats.aio.client import Client

from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.connection import GONE, NO_SERVER_HINT
from tidegate.brokers.jetstream.encryption import EncryptedClient, encryption_of, is_distrusted, name_distrust
from tidegate.brokers.process.tasks import not_losing_cancellation
from tidegate.brokers.servers.credentials import own_inbox
from tidegate.brokers.settings import NatsSettings
from tidegate.brokers.topology.fill import StreamFill, fill_of
from tidegate.brokers.topology.streams import Config
from tidegate.schemas import TidegateError
from tidegate.schemas.subjects import inbox_of

TIMEOUT_S = 10.0


class JetStreamApiError(TidegateError, RuntimeError):
    """JetStream refused a call; `err_code` is its own error code (10059: there is no such stream)."""

    hint = "`tidegate topology plan` shows what the server has and what it should have"

    def __init__(self, call: str, err_code: int, description: str) -> None:
        super().__init__(f"{call}: {description} (JetStream error {err_code})")
        self.err_code = err_code
        self.description = description


@asynccontextmanager
async def connect(settings: NatsSettings, domain: str) -> AsyncIterator[Client]:
    """A connection to the domain's server, for one piece of work. Raises `UnreachableError`, `UntrustedServerError`,
    `NkeySeedError`."""
    inbox_prefix = own_inbox(inbox_of(domain), settings.nkey_seed_file)
    options: dict[str, Any] = {"max_reconnect_attempts": 2, "reconnect_time_wait": 0.1, **encryption_of(settings)}
    errors: list[Exception] = []

    async def note(error: Exception) -> None:
        errors.append(error)

    try:
        nc = EncryptedClient()
        await nc.connect(
            settings.urls,
            inbox_prefix=inbox_prefix,
            nkeys_seed=settings.nkey_seed_file or None,
            allow_reconnect=False,
            error_cb=note,
            **options,
        )
    except (OSError, nats.errors.Error) as error:
        if is_distrusted(cause := errors[-1] if errors else error):
            raise name_distrust(settings, cause) from error
        reason = f"no server of {domain} at {settings.public_url}: {cause}"
        raise UnreachableError(reason, NO_SERVER_HINT) from error
    try:
        yield nc
    finally:
        await nc.close()


async def call(nc: Client, name: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Call `$JS.API.<name>` in the domain of the server that `nc` is connected to.

    Raises `JetStreamApiError`, `UnreachableError`.
    """
    data = json.dumps(body).encode() if body is not None else b""
    try:
        reply = await not_losing_cancellation(nc.request(f"$JS.API.{name}", data, timeout=TIMEOUT_S))
    except nats.errors.NoRespondersError as error:
        raise UnreachableError(
            "this server has no JetStream", "give it a jetstream { } block, or connect to another"
        ) from error
    except nats.errors.TimeoutError as error:
        raise UnreachableError(f"JetStream did not answer {name} within {TIMEOUT_S:g} s") from error
    answer: dict[str, Any] = json.loads(reply.data)
    if refusal := answer.get("error"):
        raise JetStreamApiError(
            name, refusal.get("err_code") or refusal["code"], refusal.get("description", "no reason given")
        )
    return answer


async def streams(nc: Client) -> dict[str, Config]:
    """The configuration of every stream, by name."""
    return {item["config"]["name"]: item["config"] async for item in _items(nc, "STREAM.LIST", "streams")}


async def read_fills(nc: Client) -> tuple[StreamFill, ...]:
    """How full every stream of the domain is, in one call. Raises `JetStreamApiError`, `UnreachableError`."""
    try:
        return tuple([fill_of(item) async for item in _items(nc, "STREAM.LIST", "streams")])
    except GONE as error:
        raise UnreachableError("the connection closed while the streams were looked at") from error


async def stream_names(nc: Client) -> frozenset[str]:
    """Every stream that there is."""
    found: list[str] = []
    while page := await call(nc, "STREAM.NAMES", {"offset": len(found)}):
        found += page["streams"] or ()
        if not page["streams"] or len(found) >= page["total"]:
            break
    return frozenset(found)


async def consumers(nc: Client, stream: str) -> dict[str, Config]:
    """The configuration of every durable consumer of `stream`, by `STREAM/consumer`."""
    return {
        f"{stream}/{item['name']}": item["config"]
        async for item in _items(nc, f"CONSUMER.LIST.{stream}", "consumers")
        if item["config"].get("durable_name")
    }


async def _items(nc: Client, listing: str, key: str) -> AsyncIterator[dict[str, Any]]:
    seen = 0
    while True:
        page = await call(nc, listing, {"offset": seen})
        items = page[key] or ()
        for item in items:
            yield item
        seen += len(items)
        if not items or seen >= page["total"]:
            return


async def put_stream(nc: Client, config: Config, *, is_new: bool) -> None:
    """Create the stream, or change it."""
    await call(nc, f"STREAM.{'CREATE' if is_new else 'UPDATE'}.{config['name']}", config)


async def put_consumer(nc: Client, stream: str, config: Config, *, is_new: bool) -> None:
    """Create the consumer, or change it."""
    body = {"stream_name": stream, "config": config, "action": "create" if is_new else "update"}
    await call(nc, f"CONSUMER.CREATE.{stream}.{config['name']}", body)


async def rewind(nc: Client, stream: str, consumer: str, sequence: int) -> None:
    """Deliver again from `sequence` on."""
    await call(nc, f"CONSUMER.RESET.{stream}.{consumer}", {"seq": sequence})
