"""A service is found and counted by the protocol of NATS micro services, answers requests, and stays at its site."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import nats.errors
import pytest
from nats.aio.client import Client
from nats.micro.service import ServiceInfo, ServicePing, ServiceStats

from loadtests.load.many_replies import request_many
from tests.support.broker_harness import OpenRig, until
from tests.support.nats_fleet import linked
from tidegate.brokers.base import Bus, UnreachableError
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.service import EndpointReply, MicroService, RunningService, ServiceEndpoint

pytestmark = pytest.mark.anyio
READERS: dict[str, Any] = {"PING": ServicePing, "INFO": ServiceInfo, "STATS": ServiceStats}
"""How nats-py's own implementation of the protocol reads each answer."""


async def shout(_: str, data: bytes) -> AsyncGenerator[EndpointReply, None]:
    if data == b"fault":
        raise ValueError("my card is 4111 1111")
    yield EndpointReply(data.upper()) if data else EndpointReply(b"say something", 400, "nothing_to_shout")


async def count(_: str, data: bytes) -> AsyncGenerator[EndpointReply, None]:
    for n in range(int(data)):
        await asyncio.sleep(0)
        yield EndpointReply(str(n).encode())


SERVICE = MicroService(
    "shouter",
    "1.2.3",
    "Shouts and counts.",
    (ServiceEndpoint("shout", "shout", shout), ServiceEndpoint("count", "count.*", count)),
    {"site": "site1"},
)


async def ask_control(bus: Bus, path: str, timeout_s: float = 5.0) -> Any:
    """The answer to `$SRV.<path>`, as nats-py reads it."""
    answer = msgspec.json.decode(await bus.request(f"$SRV.{path}", b"", timeout_s=timeout_s))
    verb = path.split(".")[0]
    assert answer["type"] == f"io.nats.micro.v1.{verb.lower()}_response"
    return READERS[verb].from_dict(answer)


async def take(bus: JetStreamBus, subject: str, data: bytes, replies: int) -> list[bytes]:
    async with request_many(bus.link, subject, data) as answers:
        return [await answers.next() for _ in range(replies)]


async def test_a_service_is_found_by_kind_and_by_instance_and_states_where_it_answers(open_rig: OpenRig) -> None:
    async with open_rig() as rig:
        await rig.bus.serve(SERVICE)
        ping = await ask_control(rig.bus, "PING")
        assert (ping.name, ping.version, ping.metadata) == ("shouter", "1.2.3", {"site": "site1"})
        assert re.fullmatch("[A-Za-z0-9]+", ping.id), "one token of a subject"
        for verb in READERS:
            for path in (verb, f"{verb}.shouter", f"{verb}.shouter.{ping.id}"):
                assert (await ask_control(rig.bus, path)).id == ping.id
        info = await ask_control(rig.bus, "INFO.shouter")
        assert info.description == "Shouts and counts."
        assert [(each.name, each.subject) for each in info.endpoints] == [("shout", "shout"), ("count", "count.*")]
        for path in ("PING.other", "PING.shouter.other", "NOTHING"):
            with pytest.raises(UnreachableError):
                await rig.bus.request(f"$SRV.{path}", b"", timeout_s=5)


async def test_requests_replies_and_errors_are_counted_and_a_stream_is_one_request(open_server_rig: OpenRig) -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    async with open_server_rig() as rig:
        await rig.bus.serve(SERVICE)
        assert await rig.bus.request("shout", b"hello", timeout_s=5) == b"HELLO"
        assert await rig.bus.request("shout", b"", timeout_s=5) == b"say something"
        with pytest.raises(UnreachableError, match="within"):
            await rig.bus.request("shout", b"fault", timeout_s=0.1)
        assert await take(rig.bus, "count.up", b"50", 50) == [str(n).encode() for n in range(50)]

        async def all_ended() -> bool:
            return all(each.average_processing_time for each in (await ask_control(rig.bus, "STATS")).endpoints)

        await until(all_ended)
        shouted, counted = (await ask_control(rig.bus, "STATS")).endpoints
        assert (shouted.num_requests, shouted.num_errors, shouted.last_error) == (3, 2, "500:ValueError")
        assert (counted.num_requests, counted.num_errors, counted.last_error) == (1, 0, "")
        assert shouted.average_processing_time == shouted.processing_time // 3
        assert counted.processing_time == counted.average_processing_time
        assert (await ask_control(rig.bus, "STATS")).started.year > 2000
    assert [str(error) for error in reported] == ["my card is 4111 1111"]


async def test_a_stream_is_counted_from_its_beginning_and_timed_at_its_end(open_server_rig: OpenRig) -> None:
    go_on = asyncio.Event()

    async def hold(_: str, __: bytes) -> AsyncGenerator[EndpointReply, None]:
        yield EndpointReply(b"1")
        await go_on.wait()
        yield EndpointReply(b"2")

    async with open_server_rig() as rig:
        await rig.bus.serve(MicroService("holder", "0.0.1", "", (ServiceEndpoint("hold", "hold", hold),)))
        async with request_many(rig.bus.link, "hold", b"") as answers:
            assert await answers.next() == b"1"
            [held] = (await ask_control(rig.bus, "STATS")).endpoints
            assert (held.num_requests, held.processing_time) == (1, 0)
            go_on.set()
            assert await answers.next() == b"2"

            async def has_ended() -> bool:
                [held] = (await ask_control(rig.bus, "STATS")).endpoints
                return bool(held.processing_time)

            await until(has_ended)


async def test_requests_are_answered_side_by_side(open_rig: OpenRig) -> None:
    together = asyncio.Barrier(4)

    async def meet(_: str, data: bytes) -> AsyncGenerator[EndpointReply, None]:
        await together.wait()
        yield EndpointReply(data)

    async with open_rig() as rig:
        await rig.bus.serve(MicroService("meeting", "0.0.1", "", (ServiceEndpoint("meet", "meet", meet),)))
        asking = (rig.bus.request("meet", word, timeout_s=5) for word in (b"a", b"b", b"c", b"d"))
        assert await asyncio.gather(*asking) == [b"a", b"b", b"c", b"d"]


async def all_pings(nc: Client, instances: int) -> list[dict[str, Any]]:
    """The answers to a ping of everybody, as a client of the protocol gathers them."""
    inbox = nc.new_inbox()
    replies = await nc.subscribe(inbox)
    await nc.publish("$SRV.PING", b"", reply=inbox)
    found = [msgspec.json.decode((await replies.next_msg(timeout=5)).data) for _ in range(instances)]
    with pytest.raises(nats.errors.TimeoutError):
        await replies.next_msg(timeout=0.1)
    await replies.unsubscribe()
    return found


async def test_every_instance_answers_a_ping_and_one_of_them_a_request(open_server_rig: OpenRig) -> None:
    async with open_server_rig() as rig, rig.peer() as peer:
        await rig.bus.serve(SERVICE)
        await peer.serve(SERVICE)
        for bus in (rig.bus, peer):
            await ask_control(bus, "PING")  # behind its subscriptions on the same connection
        pings = await all_pings(rig.client, 2)
        assert len({ping["id"] for ping in pings}) == 2
        for n in range(20):
            await rig.client.request("shout", str(n).encode(), timeout=5)
        paths = [f"STATS.shouter.{ping['id']}" for ping in pings]
        stats = [(await ask_control(rig.bus, path)).endpoints[0] for path in paths]
        assert sum(each.num_requests for each in stats) == 20
        assert {each.queue_group for each in stats} == {"tidegate"}


async def test_an_error_is_marked_on_the_wire_and_a_reply_is_not(open_server_rig: OpenRig) -> None:
    async with open_server_rig() as rig:
        await rig.bus.serve(SERVICE)
        await ask_control(rig.bus, "PING")  # behind its subscriptions on the same connection
        refused = await rig.client.request("shout", b"", timeout=5)
        assert refused.data == b"say something"
        assert refused.headers == {"Nats-Service-Error": "nothing_to_shout", "Nats-Service-Error-Code": "400"}
        assert (await rig.client.request("shout", b"a", timeout=5)).headers is None
        await rig.client.publish("shout", b"nobody waits for the reply")
        await rig.client.publish("$SRV.STATS", b"")

        async def three() -> bool:
            counted: int = (await ask_control(rig.bus, "STATS")).endpoints[0].num_requests
            return counted == 3

        await until(three)


async def test_a_service_is_found_again_after_its_server_was_restarted(open_server_rig: OpenRig) -> None:
    async with open_server_rig() as rig:
        await rig.bus.serve(SERVICE)
        before = await ask_control(rig.bus, "PING")
        rig.server.kill()
        await rig.server.start()

        async def is_back() -> bool:
            try:
                return bool((await ask_control(rig.bus, "PING", timeout_s=0.1)).id == before.id)
            except UnreachableError:
                return False

        await until(is_back)
        assert await rig.bus.request("shout", b"again", timeout_s=5) == b"AGAIN"


async def test_no_service_of_another_site_or_of_the_hub_is_found(tmp_path: Path) -> None:
    async with linked(tmp_path) as fleet, AsyncExitStack() as stack:
        for domain, server in {"hub": fleet.fleet.hub, **fleet.fleet.sites}.items():
            bus = await stack.enter_async_context(JetStreamBus.open(server.nats, domain))
            service = MicroService("shouter", "1.2.3", "", SERVICE.endpoints, {"site": domain})
            await bus.serve(service)
            await ask_control(bus, "PING")
        clients = {"hub": fleet.hub, **fleet.sites}
        for domain, nc in clients.items():
            [ping] = await all_pings(nc, 1)
            assert ping["metadata"] == {"site": domain}


async def test_an_instance_never_has_the_id_of_another() -> None:
    assert RunningService(SERVICE, "q").id != RunningService(SERVICE, "q").id
