"""The in-process runtime's bus: what is at the hub is asked there, everything else stays in memory and is bounded."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.broker_harness import until
from tests.support.escalation_site import escalated, retrieved
from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.memory.edge_bus import EdgeBus
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import Delta
from tidegate.schemas.subjects import PIPE, TOKENS, cloud_partial, fact_subject, ping, tokens
from tidegate.services.pipeline import WORKERS

pytestmark = pytest.mark.anyio


async def test_a_forgotten_request_leaves_nothing_behind_and_the_others_as_they_were() -> None:
    async with EdgeBus.open("site1") as bus:
        for rid in ("r1", "r2", "r3"):
            fact = retrieved("q", rid=rid)
            assert await bus.publish(fact, id=f"{rid}.retriever", headers={})
            last = await bus.append(Delta(rid=rid, tenant="kiosk", state="committed", text="x"), after=0)
        for rid in ("r1", "r3"):
            bus.forget(rid)
            assert await bus.last(PIPE, fact_subject(type(fact), "kiosk", rid)) is None
            assert await bus.read(TOKENS, tokens("kiosk", rid)) == []
        assert await bus.last(PIPE, fact_subject(type(fact), "kiosk", "r2")) is not None
        assert await bus.publish(retrieved("q", rid="r1"), id="r1.retriever", headers={}), "the id is free again"
        again = await bus.append(Delta(rid="r1", tenant="kiosk", state="committed", text="x"), after=0)
        assert again > last, "a sequence is never given twice"


async def test_no_stage_has_a_queue_however_much_is_stored_for_it() -> None:
    async with EdgeBus.open("site1") as bus:
        drafter = WORKERS["drafter"]
        assert await bus.pending(drafter) == 0
        await bus.publish(retrieved("q"), id="r1.retriever", headers={})
        assert await bus.pending(drafter) == 0


async def test_without_a_hub_what_is_there_cannot_be_reached_and_what_is_here_can() -> None:
    async with EdgeBus.open("site1") as bus:

        async def answer(data: bytes) -> bytes:
            return data

        await bus.respond("local", answer)
        assert await bus.request("local", b"x", timeout_s=1.0) == b"x"
        with pytest.raises(UnreachableError, match="no connection to the hub"):
            await bus.request(ping("site1"), b"", timeout_s=60.0)


async def test_what_is_listened_for_before_the_hub_is_there_is_received_and_so_it_is_after_a_restart(
    tmp_path: Path,
) -> None:
    async with Server("hub", tmp_path) as server:
        hub = server.nats  # a server keeps its port
    received: list[bytes] = []

    async def receive(_: str, data: bytes) -> None:
        received.append(data)

    async def answer(data: bytes) -> bytes:
        return data

    async with EdgeBus.open("site1", hub) as bus:
        await bus.listen(cloud_partial("site1"), receive)
        for word in (b"one", b"two"):
            async with Server("hub", tmp_path), JetStreamBus.open(hub, "hub") as at_hub:
                await at_hub.respond(ping("*"), answer)

                async def is_linked() -> bool:
                    try:
                        return await bus.request(ping("site1"), b"x", timeout_s=1.0) == b"x"
                    except UnreachableError:
                        return False

                await until(is_linked)
                await at_hub.publish_core(cloud_partial("site1", "kiosk", "r1"), word)

                async def is_received() -> bool:
                    return received[-1:] == [word]  # noqa: B023

                await until(is_received)
            with pytest.raises(UnreachableError):
                await bus.request(ping("site1"), b"", timeout_s=0.5)


async def test_closing_does_not_wait_for_a_hub_that_never_comes() -> None:
    async with asyncio.timeout(8.0), EdgeBus.open("site1", NatsSettings(url="nats://127.0.0.1:9")) as bus:
        with pytest.raises(UnreachableError):
            await bus.request(ping("site1"), b"", timeout_s=60.0)
    assert escalated("q").site == bus.domain
