"""What both buses promise about the answer log: a log with one writer, reads by subject, answers in many parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from loadtests.load.many_replies import request_many
from tests.support.broker_harness import JetStreamRig, OpenRig, until
from tests.support.scripted_stage import published
from tidegate.brokers.base import SequenceConflictError, TopologyMissingError, UnreachableError
from tidegate.brokers.jetstream.publisher import NotStoredError
from tidegate.brokers.service import EndpointReply, MicroService, ServiceEndpoint
from tidegate.schemas import Delta, decode
from tidegate.schemas.subjects import ANSWERS, TOKENS, tokens

pytestmark = pytest.mark.anyio
SUBJECT = tokens("kiosk", "r1")


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


def line(text: str, rid: str = "r1") -> Delta:
    return Delta(rid=rid, tenant="kiosk", state="committed", text=text)


async def read(rig: Any, after: int = 0, rid: str = "r1") -> list[tuple[int, str]]:
    found = await rig.bus.read(TOKENS, tokens("kiosk", rid), after)
    return [(sequence, decode(data, Delta).text) for sequence, data in found]


class TestAppending:
    async def test_a_log_grows_line_by_line_and_is_read_after_any_of_them(self, open_rig: OpenRig) -> None:
        async with open_rig() as rig:
            first = await rig.bus.append(line("a"), after=0)
            await rig.bus.append(line("other", "r2"), after=0)
            second = await rig.bus.append(line("b"), after=first)
            third = await rig.bus.append(line("c"), after=second)
            assert await read(rig) == [(first, "a"), (second, "b"), (third, "c")]
            assert await read(rig, after=first) == [(second, "b"), (third, "c")]
            assert await read(rig, after=third) == []
            assert await read(rig, rid="r3") == []
            assert [text for _, text in await read(rig, rid="r2")] == ["other"]

    async def test_a_conflict_is_raised_and_stores_nothing(self, open_rig: OpenRig) -> None:
        async with open_rig() as rig:
            first = await rig.bus.append(line("a"), after=0)
            for after in (0, first + 1, first + 1000):
                with pytest.raises(SequenceConflictError):
                    await rig.bus.append(line("b"), after=after)
            with pytest.raises(SequenceConflictError):
                await rig.bus.append(line("a", "r2"), after=first)
            assert await read(rig) == [(first, "a")]
            assert await read(rig, rid="r2") == []

    async def test_of_two_writers_one_wins_every_line(self, open_rig: OpenRig) -> None:
        async def write(bus: Any, name: str) -> list[str]:
            after, won = 0, []
            for n in range(20):
                try:
                    after = await bus.append(line(f"{name}{n}"), after=after)
                    won.append(f"{name}{n}")
                except SequenceConflictError:
                    after = (await bus.read(TOKENS, SUBJECT))[-1][0]
            return won

        async with open_rig() as rig, rig.peer() as other:
            ours, theirs = await asyncio.gather(write(rig.bus, "a"), write(other, "b"))
            texts = [text for _, text in await read(rig)]
        assert sorted(texts) == sorted(ours + theirs)

    async def test_every_line_is_received_in_order_as_it_is_stored(self, open_rig: OpenRig) -> None:
        received: list[tuple[str, str]] = []

        async def receive(subject: str, data: bytes) -> None:
            received.append((subject, decode(data, Delta).text))

        async def all_received() -> bool:
            return len(received) == 3

        async with open_rig() as rig:
            await rig.bus.listen("live.tokens.>", receive)
            after = 0
            for text in "abc":
                after = await rig.bus.append(line(text), after=after)
            await until(all_received)
        assert received == [(f"live.{SUBJECT}", text) for text in "abc"]

    async def test_a_log_longer_than_a_page_is_read_whole(self, open_rig: OpenRig) -> None:
        async with open_rig() as rig:
            after = 0
            for n in range(600):
                after = await rig.bus.append(line(str(n)), after=after)
            assert [text for _, text in await read(rig)] == [str(n) for n in range(600)]


class TestCoreNats:
    async def test_what_is_published_is_received_and_replies_are_many_and_in_order(
        self, open_server_rig: OpenRig
    ) -> None:
        received: list[bytes] = []

        async def receive(_: str, data: bytes) -> None:
            received.append(data)

        async def count(_: str, data: bytes) -> AsyncGenerator[EndpointReply, None]:
            for n in range(int(data)):
                yield EndpointReply(str(n).encode())

        async def all_received() -> bool:
            return received == [b"x"]

        async with open_server_rig() as rig:
            await rig.bus.listen("partial.drafted.>", receive)
            await rig.bus.publish_core("partial.drafted.kiosk.r1", b"x")
            await rig.bus.publish_core("nobody.listens", b"x")
            await rig.bus.serve(MicroService("s", "0.0.1", "", (ServiceEndpoint("stream", "stream", count),)))
            await asyncio.sleep(0.02)
            async with request_many(rig.bus.link, "stream", b"50") as answers:
                got = [int(await answers.next()) for _ in range(50)]
            await until(all_received)
        assert got == list(range(50))


class TestOnAServer:
    async def test_a_line_whose_acknowledgement_is_lost_is_one_line_and_its_position_is_returned(
        self, open_server_rig: OpenRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with open_server_rig() as rig:
            send, sendings = rig.bus.link.send, []

            async def losing_the_first_reply(subject: str, data: bytes, reply: str, headers: Any) -> bool:
                sendings.append(subject)
                return bool(await send(subject, data, reply if len(sendings) > 1 else "", headers))

            monkeypatch.setattr("tidegate.brokers.jetstream.publisher.RESEND_S", 0.05)
            monkeypatch.setattr(rig.bus.link, "send", losing_the_first_reply)
            first = await rig.bus.append(line("a"), after=0)
            assert len(sendings) >= 2
            assert await read(rig) == [(first, "a")]

    async def test_the_log_is_lost_with_its_server_and_the_next_line_brings_its_stream_back(
        self, open_server_rig: OpenRig
    ) -> None:
        async with open_server_rig() as rig:
            first = await rig.bus.append(line("a"), after=0)
            second = await rig.bus.append(line("b"), after=first)
            await rig.bus.publish(published("r1", "kept"), id="a1", headers={})
            rig.server.kill()
            await rig.server.start()

            async def back() -> bool:
                return bool(rig.bus.link.is_up) and await answers_there(rig)

            await until(back)
            assert await read(rig) == []
            with pytest.raises(SequenceConflictError):
                await rig.bus.append(line("c"), after=second)
            again = await rig.bus.append(line("again"), after=0)
            assert await read(rig) == [(again, "again")]
            config = (await rig.client.jetstream().stream_info(TOKENS)).config
            assert (config.storage, config.republish.dest) == ("memory", "live.tokens.>")

    async def test_nothing_but_the_log_is_brought_back(self, open_server_rig: OpenRig) -> None:
        async with open_server_rig() as rig:
            await rig.client.jetstream().delete_stream(ANSWERS)
            with pytest.raises(TopologyMissingError):
                await rig.bus.read(ANSWERS, "answers.kiosk.r1")
            with pytest.raises(NotStoredError, match="no stream"):
                await rig.bus.append(published("r1"), after=0)


async def answers_there(rig: JetStreamRig) -> bool:
    try:
        return await rig.bus.last(ANSWERS, "answers.kiosk.r1") is not None
    except UnreachableError:
        return False
