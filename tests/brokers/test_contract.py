"""What both buses promise, in memory and on a real server, on asyncio and on uvloop: storing and outcomes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.support.broker_harness import SITE, OpenRig
from tests.support.scripted_stage import (
    AFTER,
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
from tidegate.brokers.base import Bus, Delivery
from tidegate.brokers.worker import run
from tidegate.schemas import Asked, Message, Published, RejectError, RetryLaterError, Withheld, decode, encode

pytestmark = pytest.mark.anyio
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


class TestStoring:
    async def test_an_id_is_stored_once_and_handled_once(self, open_rig: OpenRig) -> None:
        script = Script()
        async with open_rig(STAGE) as rig, working(STAGE, script, rig.bus):
            assert await rig.bus.publish(asked("a"), id="q1", headers={}) is True
            assert await rig.bus.publish(asked("a"), id="q1", headers={}) is False
            assert await rig.bus.publish(asked("b"), id="q2", headers={}) is True
            await holds(rig, "PIPE", 2)
            assert script.calls == {"a": 1, "b": 1}

    async def test_a_request_is_answered_once_whatever_the_ids(self, open_rig: OpenRig) -> None:
        async with open_rig() as rig:
            assert await rig.bus.publish(published("r1", "first"), id="x", headers={}) is True
            assert await rig.bus.publish(published("r1", "first"), id="x", headers={}) is False
            assert await rig.bus.publish(published("r1", "second"), id="y", headers={}) is False
            assert await rig.bus.publish(published("r2", "other"), id="z", headers={}) is True
            assert await texts(rig, "ANSWERS") == ["first", "other"]

    async def test_an_output_names_its_cause_and_keeps_the_trace(self, open_rig: OpenRig) -> None:
        async with open_rig(STAGE) as rig, working(STAGE, Script(), rig.bus):
            await rig.bus.publish(asked("a"), id="q1", headers={"traceparent": PARENT})
            await holds(rig, "PIPE", 1)
            [output] = await rig.stored("PIPE")
            assert output.subject == "pipe.kiosk.withheld.a"
            assert output.headers["Nats-Msg-Id"] == "q1.prefilter.0"
            assert output.headers["Tidegate-Cause"] == "ASKS:1"
            assert output.headers["traceparent"] == PARENT

    async def test_all_outputs_of_a_message_are_stored_under_their_own_ids(self, open_rig: OpenRig) -> None:
        async def twice(question: Asked) -> list[Message]:
            return [withheld(question.rid, "one"), withheld(question.rid, "two")]

        async with open_rig(STAGE) as rig, working(STAGE, twice, rig.bus):
            await ask(rig, asked("a"))
            await holds(rig, "PIPE", 2)
            assert [kept.headers["Nats-Msg-Id"] for kept in await rig.stored("PIPE")] == [
                "a.prefilter.0",
                "a.prefilter.1",
            ]

    async def test_the_ledger_grows_by_one_line_per_stage(self, open_rig: OpenRig) -> None:
        async def answer(fact: Withheld) -> list[Message]:
            return [published(fact.rid, "sorry")]

        async with (
            open_rig(STAGE, AFTER) as rig,
            working(STAGE, Script(), rig.bus),
            working(AFTER, answer, rig.bus),
        ):
            await ask(rig, asked("a"))
            await holds(rig, "ANSWERS", 1)
            [kept] = await rig.stored("ANSWERS")
            timings = decode(kept.data, Published).timings
            assert [line.stage for line in timings] == ["prefilter", "publisher"]
            assert all(line.waited_ms >= 0 and line.worked_ms >= 0 for line in timings)


class TestOutcomes:
    async def test_a_rejected_message_is_dead_lettered_at_once_with_its_bytes_and_the_reason(
        self, open_rig: OpenRig
    ) -> None:
        script = Script(bad=raising(RejectError("never\nwill — it")))
        async with open_rig(STAGE) as rig, working(STAGE, script, rig.bus):
            await rig.bus.publish(asked("r7", "bad"), id="q1", headers={"traceparent": PARENT})
            await holds(rig, "DEAD", 1)
            await no_more_pending(rig, STAGE)
            [letter] = await rig.stored("DEAD")
            assert letter.subject == "dead.prefilter.r7"
            assert letter.data == encode(asked("r7", "bad"))
            assert letter.headers["Dead-Reason"] == "RejectError: never will ? it"
            assert {key: letter.headers[f"Dead-{key}"] for key in ("Stage", "Site", "Subject", "Attempt", "Id")} == {
                "Stage": "prefilter",
                "Site": SITE,
                "Subject": "asks.kiosk.r7",
                "Attempt": "1",
                "Id": "q1",
            }
            assert float(letter.headers["Dead-Stored-At"]) > 1e9
            assert letter.headers["Nats-Msg-Id"] == "q1.prefilter.dead.1"
            assert script.calls["bad"] == 1

    @pytest.mark.parametrize(
        "data", [b"\xc1", b"{", b"", encode(withheld("x"))], ids=["bytes", "json", "nothing", "another type"]
    )
    async def test_what_cannot_be_read_is_dead_lettered_and_never_handled(self, open_rig: OpenRig, data: bytes) -> None:
        script = Script()
        async with open_rig(STAGE) as rig, working(STAGE, script, rig.bus):
            await rig.put("asks.kiosk.x", data, "q1")
            await holds(rig, "DEAD", 1)
            [letter] = await rig.stored("DEAD")
            assert letter.data == data
            assert letter.headers["Dead-Reason"].startswith("UnreadableError: ")
            assert not script.calls

    async def test_a_message_put_off_comes_back_after_its_delay_and_not_before(self, open_rig: OpenRig) -> None:
        loop, times = asyncio.get_running_loop(), list[float]()

        async def handle(question: Asked) -> list[Message]:
            times.append(loop.time())
            if len(times) == 1:
                raise RetryLaterError("no link", 0.15)
            return [withheld(question.rid)]

        async with open_rig(STAGE) as rig, working(STAGE, handle, rig.bus):
            await ask(rig, asked("a"))
            await holds(rig, "PIPE", 1)
            assert times[1] - times[0] >= 0.14
            assert not await rig.stored("DEAD")

    async def test_a_flaky_handler_is_tried_again_until_it_is_fine(self, open_rig: OpenRig) -> None:
        script = Script(flaky=failing_first(2))
        async with open_rig(STAGE) as rig, working(STAGE, script, rig.bus):
            await ask(rig, asked("a", "flaky"))
            await holds(rig, "PIPE", 1)
            await no_more_pending(rig, STAGE)
            assert script.calls["flaky"] == 3
            assert not await rig.stored("DEAD")

    async def test_exhausted_retries_are_dead_lettered(self, open_rig: OpenRig) -> None:
        script = Script(boom=raising(ValueError("bad value: my card is 4111")))
        async with open_rig(STAGE) as rig, working(STAGE, script, rig.bus):
            await ask(rig, asked("a", "boom"))
            await holds(rig, "DEAD", 1)
            [letter] = await rig.stored("DEAD")
            assert letter.headers["Dead-Attempt"] == "3"
            assert letter.headers["Dead-Reason"].startswith("ValueError at scripted_stage.py:")  # never what it quoted
            assert script.calls["boom"] == 3

    async def test_a_handler_that_takes_too_long_is_tried_again(self, open_rig: OpenRig) -> None:
        hasty = replace(STAGE, timeout_s=0.05, retry=replace(SOON, attempts=2))
        script = Script(slow=stuck)
        async with open_rig(hasty) as rig, working(hasty, script, rig.bus):
            await ask(rig, asked("a", "slow"))
            await holds(rig, "DEAD", 1)
            [letter] = await rig.stored("DEAD")
            assert letter.headers["Dead-Reason"] == "TimeoutError: the handler took longer than 0.05 s"
            assert script.calls["slow"] == 2

    async def test_a_message_that_kills_its_process_is_dead_lettered_without_another_try(
        self, open_rig: OpenRig
    ) -> None:
        script = Script()
        async with open_rig(STAGE, ack_wait_s=0.1) as rig:
            await ask(rig, asked("a", "killer"))
            for attempt in range(1, STAGE.retry.attempts + 1):
                async with rig.peer() as doomed, doomed.subscribe(STAGE) as inbox:
                    delivery = await inbox.next(wait_s=5.0)
                    assert delivery.attempt == attempt  # and it is never acknowledged
            async with working(STAGE, script, rig.bus):
                await holds(rig, "DEAD", 1)
                [letter] = await rig.stored("DEAD")
                assert "without an acknowledgement" in letter.headers["Dead-Reason"]
                assert not script.calls

    async def test_a_message_that_was_handed_back_too_often_is_dead_lettered_and_never_forgotten(
        self, open_rig: OpenRig
    ) -> None:
        # A hand-back counts as a try at the server, so that a few quick restarts may use up every try there is.
        script = Script()
        async with open_rig(STAGE) as rig:
            await ask(rig, asked("a", "fine"))
            async with rig.peer() as doomed, doomed.subscribe(STAGE) as inbox:
                for _ in range(STAGE.retry.attempts + 3):
                    delivery = await inbox.next(wait_s=5.0)
                    assert delivery is not None
                    await delivery.retry(0.0)
            async with working(STAGE, script, rig.bus):
                await holds(rig, "DEAD", 1)
                assert not script.calls

    async def test_a_dead_letter_that_cannot_be_stored_ends_the_worker_with_an_error(self, open_rig: OpenRig) -> None:
        class FailingBus:
            def __init__(self, bus: Bus) -> None:
                self.bus = bus

            def __getattr__(self, name: str) -> Any:
                return getattr(self.bus, name)

            async def dead_letter(self, delivery: Delivery, stage: str, error: BaseException) -> None:  # noqa: ARG002
                raise OSError("the disk is full")

        async with open_rig(STAGE) as rig:
            await ask(rig, asked("a", "bad"))
            script = Script(bad=raising(RejectError("no")))
            job = run(STAGE, script, FailingBus(rig.bus), asyncio.Event())
            with pytest.raises(ExceptionGroup) as caught:
                await asyncio.wait_for(job, 10)
            assert caught.group_contains(OSError, match="the disk is full")
