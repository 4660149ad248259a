"""What both buses promise about reading, core NATS and observers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.support.broker_harness import OpenRig, until
from tests.support.scripted_stage import (
    SOON,
    STAGE,
    Script,
    ask,
    asked,
    failing_first,
    holds,
    no_more_pending,
    published,
    raising,
    stuck,
    texts,
    withheld,
    working,
)
from tidegate.brokers.base import Delivery, UnreachableError
from tidegate.brokers.stage import Stage
from tidegate.brokers.worker import WorkerObserver, run
from tidegate.schemas import Asked, Message, Published, RejectError, Withheld, decode, encode

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


class TestReading:
    async def test_a_stage_reads_all_its_streams(self, open_rig: OpenRig) -> None:
        both = Stage("policy", (Asked, Withheld), (Published,), "none:open", retry=SOON)

        async def handle(fact: Asked | Withheld) -> list[Message]:
            return [published(fact.rid, type(fact).__name__)]

        async with open_rig(both) as rig, working(both, handle, rig.bus):
            await rig.bus.publish(asked("a"), id="q1", headers={})
            await rig.bus.publish(withheld("b"), id="q2", headers={})
            await holds(rig, "ANSWERS", 2)
            assert await texts(rig, "ANSWERS") == ["Asked", "Withheld"]

    async def test_a_backlog_in_one_stream_does_not_hold_up_another(self, open_server_rig: OpenRig) -> None:
        both = Stage("policy", (Asked, Withheld), (), "none:open", retry=SOON)
        async with open_server_rig(both) as rig:
            await ask(rig, *(asked(f"a{n}") for n in range(20)))
            await rig.bus.publish(withheld("w"), id="w", headers={})
            async with rig.bus.subscribe(both) as inbox:
                await asyncio.sleep(0.2)
                subjects_read = [(await inbox.next(wait_s=5.0)).subject for _ in range(3)]
            assert "pipe.kiosk.withheld.w" in subjects_read

    async def test_many_messages_come_through_a_small_batch(self, open_rig: OpenRig) -> None:
        narrow, script = replace(STAGE, concurrency=2), Script()
        async with open_rig(narrow) as rig, working(narrow, script, rig.bus):
            await asyncio.gather(*(ask(rig, asked(f"q{n}")) for n in range(100)))
            await holds(rig, "PIPE", 100)
            assert set(script.calls.values()) == {1}

    async def test_pending_counts_what_waits_and_what_is_in_hand(self, open_rig: OpenRig) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def act() -> None:
            begun.set()
            await go_on.wait()

        async with open_rig(STAGE) as rig:
            assert await rig.bus.pending(STAGE) == 0
            async with working(STAGE, Script(held=act), rig.bus):
                await ask(rig, asked("a", "held"), asked("b", "held"))
                await begun.wait()

                async def two() -> bool:
                    return bool(await rig.bus.pending(STAGE) == 2)

                await until(two)
                go_on.set()
                await no_more_pending(rig, STAGE)

    async def test_the_last_message_of_a_subject_can_be_read(self, open_rig: OpenRig) -> None:
        async with open_rig() as rig:
            await rig.bus.publish(withheld("a", "old"), id="1", headers={})
            await rig.bus.publish(withheld("a", "new"), id="2", headers={})
            await rig.bus.publish(withheld("b", "other"), id="3", headers={})
            found = await rig.bus.last("PIPE", "pipe.kiosk.withheld.a")
            assert found == encode(withheld("a", "new"))
            assert await rig.bus.last("PIPE", "pipe.kiosk.withheld.none") is None


class TestCoreClient:
    async def test_a_request_that_nobody_answers_is_unreachable_at_once(self, open_rig: OpenRig) -> None:
        async with open_rig() as rig, asyncio.timeout(5):
            with pytest.raises(UnreachableError, match="nobody"):
                await rig.bus.request("cloud.site1.verify", b"?", timeout_s=60.0)

    async def test_requests_are_answered_side_by_side_and_by_one_peer_each(self, open_rig: OpenRig) -> None:
        together, answers = asyncio.Barrier(4), list[bytes]()

        async def answer(data: bytes) -> bytes:
            answers.append(data)
            await together.wait()
            return data.upper()

        async with open_rig() as rig, rig.peer() as other:
            await rig.bus.respond("cloud.*.verify", answer)
            if other is not rig.bus:
                await other.respond("cloud.*.verify", answer)
                await asyncio.sleep(0.05)
            asking = (rig.bus.request("cloud.site1.verify", word, timeout_s=5.0) for word in (b"a", b"b", b"c", b"d"))
            assert await asyncio.gather(*asking) == [b"A", b"B", b"C", b"D"]
            assert sorted(answers) == [b"a", b"b", b"c", b"d"]

    async def test_an_answer_by_subject_is_told_who_asks(self, open_rig: OpenRig) -> None:
        async def answer(subject: str, data: bytes) -> bytes:
            return subject.encode() + b" " + data

        async with open_rig() as rig:
            await rig.bus.respond_by_subject("cloud.*.ping", answer)
            for site in ("site1", "site2"):
                reply = await rig.bus.request(f"cloud.{site}.ping", b"a", timeout_s=5.0)
                assert reply == f"cloud.{site}.ping a".encode()

    async def test_an_answer_that_fails_is_reported_and_the_requester_times_out(self, open_rig: OpenRig) -> None:
        reported: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

        async def answer(_: bytes) -> bytes:
            raise ValueError("a fault over there")

        async with open_rig() as rig:
            await rig.bus.respond("ask", answer)
            with pytest.raises(UnreachableError, match="within"):
                await rig.bus.request("ask", b"?", timeout_s=0.2)
        assert [str(error) for error in reported] == ["a fault over there"]

    async def test_live_copies_are_received_in_order_and_after_an_error_too(self, open_rig: OpenRig) -> None:
        received: list[str] = []
        reported: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

        async def receive(subject: str, data: bytes) -> None:
            await asyncio.sleep(0.01)
            received.append(decode(data, Published).text)
            assert subject == f"live.answers.kiosk.r{len(received) - 1}"
            if len(received) == 2:
                raise ValueError("failing for once")

        async with open_rig() as rig:
            await rig.bus.listen("live.answers.>", receive)
            for n in range(5):
                await rig.bus.publish(published(f"r{n}", str(n)), id=str(n), headers={})

            async def all_received() -> bool:
                return len(received) == 5

            await until(all_received)
        assert received == ["0", "1", "2", "3", "4"]
        assert [str(error) for error in reported] == ["failing for once"]


class Seen(WorkerObserver):
    """An observer that keeps what it observed."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, str, int]] = []
        self.in_flight = 0

    def on_start(self, stage: Stage, delivery: Delivery) -> None:  # noqa: ARG002
        self.in_flight += 1

    def on_outcome(self, stage: Stage, delivery: Delivery, outcome: str, worked_s: float, error: Any) -> None:  # noqa: ARG002
        assert worked_s >= 0
        self.in_flight -= 1
        self.outcomes.append((outcome, type(error).__name__, delivery.attempt))


async def test_every_outcome_of_a_delivery_is_observed(open_rig: OpenRig) -> None:
    seen, stop = Seen(), asyncio.Event()
    script = Script(bad=raising(RejectError("no")), flaky=failing_first(1), stuck=stuck)
    async with open_rig(STAGE) as rig:
        job = asyncio.create_task(run(STAGE, script, rig.bus, stop, 0.0, seen))
        await ask(rig, asked("a", "fine"), asked("b", "bad"), asked("c", "flaky"), asked("d", "stuck"))

        async def four() -> bool:
            return len(seen.outcomes) == 4 and script.calls["stuck"] == 1

        await until(four)
        stop.set()
        with pytest.raises(TimeoutError):
            await job
    assert seen.in_flight == 0
    assert sorted(seen.outcomes) == [
        ("dead_lettered", "RejectError", 1),
        ("done", "NoneType", 1),
        ("done", "NoneType", 2),
        ("handed_back", "CancelledError", 1),
        ("retried", "OSError", 1),
    ]
