"""What a house promises, asked of both: in memory and on a real server, on asyncio and on uvloop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from rigs import SITE, OpenRig, Rig, until

from brokers.base import Delivery, House, TopologyMissing, Unreachable
from brokers.publisher import NotStored, Publisher
from brokers.stage import Retry, Stage
from brokers.worker import keep_alive, run, settle
from schemas import (
    Asked,
    Later,
    Message,
    Published,
    Receipt,
    Reject,
    Withheld,
    decode,
    encode,
)

pytestmark = pytest.mark.anyio

SOON = Retry(attempts=3, jitter=lambda _low, _high: 0.01)
STAGE = Stage("prefilter", (Asked,), (Withheld,), "none:open", concurrency=4, timeout_s=20.0, retry=SOON)
AFTER = Stage("publisher", (Withheld,), (Published,), "none:open", concurrency=4, retry=SOON)
Handle = Callable[[Any], Awaitable[list[Message]]]


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


def asked(rid: str, text: str = "") -> Asked:
    return Asked(tenant="kiosk", rid=rid, text=text or rid, site=SITE, asked_at_ms=1, deadline_at_ms=2)


def withheld(rid: str, text: str = "") -> Withheld:
    return Withheld(
        rid=rid, tenant="kiosk", site=SITE, asked_at_ms=1, deadline_at_ms=2, reason="unsafe", stage="test", text=text
    )


def published(rid: str, text: str = "") -> Published:
    receipt = Receipt(site=SITE, route="edge", plan=None, lineage=(), citations=(), decisions=())
    return Published(
        rid=rid,
        tenant="kiosk",
        site=SITE,
        asked_at_ms=1,
        deadline_at_ms=2,
        outcome="withheld",
        text=text,
        receipt=receipt,
    )


class Script:
    """A handler that does what the text says, and counts."""

    def __init__(self, **acts: Callable[[], Awaitable[None]]) -> None:
        self.acts = acts
        self.calls: Counter[str] = Counter()

    async def __call__(self, question: Asked) -> list[Message]:
        self.calls[question.text] += 1
        if question.text in self.acts:
            await self.acts[question.text]()
        return [withheld(question.rid, question.text)]


def raising(error: Exception) -> Callable[[], Awaitable[None]]:
    async def act() -> None:
        raise error

    return act


def failing_first(times: int) -> Callable[[], Awaitable[None]]:
    errors: Iterator[Exception] = iter([OSError("not yet")] * times)

    async def act() -> None:
        for error in errors:
            raise error

    return act


async def stuck() -> None:
    await asyncio.sleep(3600)


@contextlib.asynccontextmanager
async def working(stage: Stage, handle: Handle, house: House, grace_s: float = 5.0) -> AsyncIterator[None]:
    """A worker beside the body; it is drained on leaving."""
    stop = asyncio.Event()
    job = asyncio.create_task(run(stage, handle, house, stop, grace_s))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await job


async def ask(rig: Rig, *questions: Asked) -> None:
    for question in questions:
        await rig.house.publish(question, id=question.rid, headers={})


async def texts(rig: Rig, stream: str = "PIPE") -> list[str]:
    return sorted(decode(kept.data, Withheld, Published, Asked).text for kept in await rig.stored(stream))


async def holds(rig: Rig, stream: str, count: int) -> None:
    async def enough() -> bool:
        return len(await rig.stored(stream)) >= count

    await until(enough)


async def no_more_pending(rig: Rig, stage: Stage) -> None:
    async def none() -> bool:
        return await rig.house.pending(stage) == 0

    await until(none)


class TestStoring:
    async def test_an_id_is_stored_once_and_handled_once(self, open_rig: OpenRig) -> None:
        script = Script()
        async with open_rig(STAGE) as rig, working(STAGE, script, rig.house):
            assert await rig.house.publish(asked("a"), id="q1", headers={}) is True
            assert await rig.house.publish(asked("a"), id="q1", headers={}) is False
            assert await rig.house.publish(asked("b"), id="q2", headers={}) is True
            await holds(rig, "PIPE", 2)
            assert script.calls == {"a": 1, "b": 1}

    async def test_a_request_is_answered_once_whatever_the_ids(self, open_rig: OpenRig) -> None:
        async with open_rig() as rig:
            assert await rig.house.publish(published("r1", "first"), id="x", headers={}) is True
            assert await rig.house.publish(published("r1", "first"), id="x", headers={}) is False
            assert await rig.house.publish(published("r1", "second"), id="y", headers={}) is False
            assert await rig.house.publish(published("r2", "other"), id="z", headers={}) is True
            assert await texts(rig, "ANSWERS") == ["first", "other"]

    async def test_an_output_says_what_caused_it_and_keeps_the_trace(self, open_rig: OpenRig) -> None:
        async with open_rig(STAGE) as rig, working(STAGE, Script(), rig.house):
            await rig.house.publish(asked("a"), id="q1", headers={"traceparent": "00-1-2-01"})
            await holds(rig, "PIPE", 1)
            [output] = await rig.stored("PIPE")
            assert output.subject == "pipe.kiosk.withheld.a"
            assert output.headers["Nats-Msg-Id"] == "q1.prefilter.0"
            assert output.headers["Tidegate-Cause"] == "ASKS:1"
            assert output.headers["traceparent"] == "00-1-2-01"

    async def test_all_outputs_of_a_message_are_stored_under_their_own_ids(self, open_rig: OpenRig) -> None:
        async def twice(question: Asked) -> list[Message]:
            return [withheld(question.rid, "one"), withheld(question.rid, "two")]

        async with open_rig(STAGE) as rig, working(STAGE, twice, rig.house):
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
            working(STAGE, Script(), rig.house),
            working(AFTER, answer, rig.house),
        ):
            await ask(rig, asked("a"))
            await holds(rig, "ANSWERS", 1)
            [kept] = await rig.stored("ANSWERS")
            ledger = decode(kept.data, Published).ledger
            assert [line.stage for line in ledger] == ["prefilter", "publisher"]
            assert all(line.waited_ms >= 0 and line.worked_ms >= 0 for line in ledger)


class TestVerdicts:
    async def test_a_rejected_message_is_buried_at_once_with_its_bytes_and_the_reason(self, open_rig: OpenRig) -> None:
        script = Script(bad=raising(Reject("never\nwill — it")))
        async with open_rig(STAGE) as rig, working(STAGE, script, rig.house):
            await rig.house.publish(asked("r7", "bad"), id="q1", headers={"traceparent": "00-1-2-01"})
            await holds(rig, "DEAD", 1)
            await no_more_pending(rig, STAGE)
            [letter] = await rig.stored("DEAD")
            assert letter.subject == "dead.prefilter.r7"
            assert letter.data == encode(asked("r7", "bad"))
            assert letter.headers["Dead-Reason"] == "Reject: never will ? it"
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
    async def test_what_cannot_be_read_is_buried_and_never_handled(self, open_rig: OpenRig, data: bytes) -> None:
        script = Script()
        async with open_rig(STAGE) as rig, working(STAGE, script, rig.house):
            await rig.put("asks.kiosk.x", data, "q1")
            await holds(rig, "DEAD", 1)
            [letter] = await rig.stored("DEAD")
            assert letter.data == data
            assert letter.headers["Dead-Reason"].startswith("Unreadable: ")
            assert not script.calls

    async def test_a_message_put_off_comes_back_after_its_delay_and_not_before(self, open_rig: OpenRig) -> None:
        loop, times = asyncio.get_running_loop(), list[float]()

        async def handle(question: Asked) -> list[Message]:
            times.append(loop.time())
            if len(times) == 1:
                raise Later("no link", 0.15)
            return [withheld(question.rid)]

        async with open_rig(STAGE) as rig, working(STAGE, handle, rig.house):
            await ask(rig, asked("a"))
            await holds(rig, "PIPE", 1)
            assert times[1] - times[0] >= 0.14
            assert not await rig.stored("DEAD")

    async def test_a_flaky_handler_is_tried_again_until_it_is_fine(self, open_rig: OpenRig) -> None:
        script = Script(flaky=failing_first(2))
        async with open_rig(STAGE) as rig, working(STAGE, script, rig.house):
            await ask(rig, asked("a", "flaky"))
            await holds(rig, "PIPE", 1)
            await no_more_pending(rig, STAGE)
            assert script.calls["flaky"] == 3
            assert not await rig.stored("DEAD")

    async def test_exhausted_retries_are_buried(self, open_rig: OpenRig) -> None:
        script = Script(boom=raising(ValueError("it said: my card is 4111")))
        async with open_rig(STAGE) as rig, working(STAGE, script, rig.house):
            await ask(rig, asked("a", "boom"))
            await holds(rig, "DEAD", 1)
            [letter] = await rig.stored("DEAD")
            assert letter.headers["Dead-Attempt"] == "3"
            assert letter.headers["Dead-Reason"].startswith("ValueError at test_contract.py:")  # never what it quoted
            assert script.calls["boom"] == 3

    async def test_a_handler_that_takes_too_long_is_tried_again(self, open_rig: OpenRig) -> None:
        hasty = replace(STAGE, timeout_s=0.05, retry=replace(SOON, attempts=2))
        script = Script(slow=stuck)
        async with open_rig(hasty) as rig, working(hasty, script, rig.house):
            await ask(rig, asked("a", "slow"))
            await holds(rig, "DEAD", 1)
            [letter] = await rig.stored("DEAD")
            assert letter.headers["Dead-Reason"] == "TimeoutError: the handler took longer than 0.05 s"
            assert script.calls["slow"] == 2

    async def test_a_message_that_kills_its_process_is_buried_without_another_try(self, open_rig: OpenRig) -> None:
        script = Script()
        async with open_rig(STAGE, ack_wait_s=0.1) as rig:
            await ask(rig, asked("a", "killer"))
            for attempt in range(1, STAGE.retry.attempts + 1):
                async with rig.peer() as doomed, doomed.subscribe(STAGE) as inbox:
                    delivery = await inbox.next(wait_s=5.0)
                    assert delivery.attempt == attempt  # and no verdict is ever given
            async with working(STAGE, script, rig.house):
                await holds(rig, "DEAD", 1)
                [letter] = await rig.stored("DEAD")
                assert "without a verdict" in letter.headers["Dead-Reason"]
                assert not script.calls

    async def test_a_burial_that_fails_ends_the_worker_loudly(self, open_rig: OpenRig) -> None:
        class NoGraves:
            def __init__(self, house: House) -> None:
                self.house = house

            def __getattr__(self, name: str) -> Any:
                return getattr(self.house, name)

            async def bury(self, delivery: Delivery, stage: str, error: BaseException) -> None:  # noqa: ARG002
                raise OSError("the disk is full")

        async with open_rig(STAGE) as rig:
            await ask(rig, asked("a", "bad"))
            script = Script(bad=raising(Reject("no")))
            job = run(STAGE, script, NoGraves(rig.house), asyncio.Event())  # type: ignore[arg-type]
            with pytest.raises(ExceptionGroup) as caught:
                await asyncio.wait_for(job, 10)
            assert caught.group_contains(OSError, match="the disk is full")


class LostAck:
    """A delivery whose worker died after it had published and before its ack reached the server."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delivery, name)

    async def ack(self) -> None:
        return


class TestCrashes:
    async def test_a_crash_between_publish_and_ack_stores_the_output_once(self, open_rig: OpenRig) -> None:
        script = Script()
        async with open_rig(STAGE, ack_wait_s=0.2) as rig:
            await ask(rig, asked("a"))
            async with rig.house.subscribe(STAGE) as inbox:
                delivery = await inbox.next(wait_s=5.0)
                await settle(STAGE, script, LostAck(delivery), rig.house)  # type: ignore[arg-type]
            async with working(STAGE, script, rig.house):
                await no_more_pending(rig, STAGE)
            assert script.calls["a"] == 2
            assert await texts(rig) == ["a"]

    async def test_a_message_that_is_worked_on_is_not_given_to_a_peer(self, open_rig: OpenRig) -> None:
        async with open_rig(STAGE, ack_wait_s=0.3) as rig:
            await ask(rig, asked("a"))
            async with rig.house.subscribe(STAGE) as mine:
                delivery = await mine.next(wait_s=5.0)
                async with rig.peer() as other, other.subscribe(STAGE) as theirs:
                    with keep_alive(delivery, every_s=0.03):
                        assert await mine.next(wait_s=0.25) is None
                        assert await theirs.next(wait_s=0.25) is None
                again = await mine.next(wait_s=5.0)
                assert again.attempt > 1

    async def test_a_late_ack_still_ends_a_message_that_was_delivered_again(self, open_rig: OpenRig) -> None:
        async with open_rig(STAGE, ack_wait_s=0.2) as rig:
            await ask(rig, asked("a"))
            async with rig.house.subscribe(STAGE) as inbox:
                first, second = await inbox.next(wait_s=5.0), await inbox.next(wait_s=5.0)
                assert (first.attempt, second.attempt) == (1, 2)
                await first.ack()
                assert await inbox.next(wait_s=0.4) is None
            await no_more_pending(rig, STAGE)

    async def test_a_verdict_ends_a_delivery_though_its_worker_leaves_at_once(self, open_rig: OpenRig) -> None:
        async with open_rig(STAGE, ack_wait_s=0.1) as rig:
            await ask(rig, asked("a"))
            async with rig.peer() as leaver, leaver.subscribe(STAGE) as inbox:
                await (await inbox.next(wait_s=5.0)).ack()
            async with rig.house.subscribe(STAGE) as inbox:
                assert await inbox.next(wait_s=0.25) is None
            await no_more_pending(rig, STAGE)


class TestDrain:
    async def test_a_drain_finishes_what_is_in_flight(self, open_rig: OpenRig) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def act() -> None:
            begun.set()
            await go_on.wait()

        async with open_rig(STAGE) as rig:
            async with working(STAGE, Script(slow=act), rig.house):
                await ask(rig, asked("a", "slow"))
                await begun.wait()
                asyncio.get_running_loop().call_later(0.1, go_on.set)
            assert await texts(rig) == ["slow"]

    async def test_a_drain_that_runs_out_hands_work_to_a_peer_at_once(self, open_rig: OpenRig) -> None:
        begun = asyncio.Event()

        async def act() -> None:
            begun.set()
            await stuck()

        async with open_rig(STAGE) as rig, rig.peer() as other:
            stop = asyncio.Event()
            job = asyncio.create_task(run(STAGE, Script(stuck=act), rig.house, stop, grace_s=0.1))
            await ask(rig, asked("a", "stuck"))
            await begun.wait()
            stop.set()
            with pytest.raises(TimeoutError):
                await job
            peer = Script()
            async with working(STAGE, peer, other):
                await holds(rig, "PIPE", 1)  # long before the ack wait of thirty seconds
            assert peer.calls["stuck"] == 1

    async def test_what_was_not_begun_goes_to_a_peer_before_the_drain_ends(self, open_rig: OpenRig) -> None:
        single, begun, go_on = replace(STAGE, concurrency=1), asyncio.Event(), asyncio.Event()

        async def act() -> None:
            begun.set()
            await go_on.wait()

        async with open_rig(single) as rig, rig.peer() as other:
            await ask(rig, asked("a", "slow"), *(asked(f"b{n}") for n in range(6)))
            stop = asyncio.Event()
            mine = Script(slow=act)
            job = asyncio.create_task(run(single, mine, rig.house, stop, grace_s=10.0))
            await begun.wait()
            stop.set()
            async with working(single, Script(), other):
                await holds(rig, "PIPE", 6)
                assert not job.done()
                go_on.set()
                await job
            assert mine.calls == {"slow": 1}
            assert len(await texts(rig)) == 7

    async def test_stop_is_heard_at_once_by_a_worker_that_has_nothing_to_do(self, open_rig: OpenRig) -> None:
        async with open_rig(STAGE) as rig:
            stop = asyncio.Event()
            job = asyncio.create_task(run(STAGE, Script(), rig.house, stop))
            await asyncio.sleep(0.05)
            stop.set()
            async with asyncio.timeout(5):
                await job


class TestReading:
    async def test_a_stage_reads_all_its_streams(self, open_rig: OpenRig) -> None:
        both = Stage("policy", (Asked, Withheld), (Published,), "none:open", retry=SOON)

        async def handle(fact: Asked | Withheld) -> list[Message]:
            return [published(fact.rid, type(fact).__name__)]

        async with open_rig(both) as rig, working(both, handle, rig.house):
            await rig.house.publish(asked("a"), id="q1", headers={})
            await rig.house.publish(withheld("b"), id="q2", headers={})
            await holds(rig, "ANSWERS", 2)
            assert await texts(rig, "ANSWERS") == ["Asked", "Withheld"]

    async def test_a_backlog_in_one_stream_does_not_hold_up_another(self, open_server_rig: OpenRig) -> None:
        both = Stage("policy", (Asked, Withheld), (), "none:open", retry=SOON)
        async with open_server_rig(both) as rig:
            await ask(rig, *(asked(f"a{n}") for n in range(20)))
            await rig.house.publish(withheld("w"), id="w", headers={})
            async with rig.house.subscribe(both) as inbox:
                await asyncio.sleep(0.2)
                subjects_read = [(await inbox.next(wait_s=5.0)).subject for _ in range(3)]
            assert "pipe.kiosk.withheld.w" in subjects_read

    async def test_many_messages_come_through_a_small_batch(self, open_rig: OpenRig) -> None:
        narrow, script = replace(STAGE, concurrency=2), Script()
        async with open_rig(narrow) as rig, working(narrow, script, rig.house):
            await asyncio.gather(*(ask(rig, asked(f"q{n}")) for n in range(100)))
            await holds(rig, "PIPE", 100)
            assert set(script.calls.values()) == {1}

    async def test_pending_counts_what_waits_and_what_is_in_hand(self, open_rig: OpenRig) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def act() -> None:
            begun.set()
            await go_on.wait()

        async with open_rig(STAGE) as rig:
            assert await rig.house.pending(STAGE) == 0
            async with working(STAGE, Script(held=act), rig.house):
                await ask(rig, asked("a", "held"), asked("b", "held"))
                await begun.wait()

                async def two() -> bool:
                    return await rig.house.pending(STAGE) == 2

                await until(two)
                go_on.set()
                await no_more_pending(rig, STAGE)

    async def test_the_last_message_of_a_subject_can_be_read(self, open_rig: OpenRig) -> None:
        async with open_rig() as rig:
            await rig.house.publish(withheld("a", "old"), id="1", headers={})
            await rig.house.publish(withheld("a", "new"), id="2", headers={})
            await rig.house.publish(withheld("b", "other"), id="3", headers={})
            found = await rig.house.last("PIPE", "pipe.kiosk.withheld.a")
            assert found == encode(withheld("a", "new"))
            assert await rig.house.last("PIPE", "pipe.kiosk.withheld.none") is None


class TestWire:
    async def test_a_request_that_nobody_hears_is_unreachable_at_once(self, open_rig: OpenRig) -> None:
        async with open_rig() as rig, asyncio.timeout(5):
            with pytest.raises(Unreachable, match="nobody"):
                await rig.house.request("cloud.site1.verify", b"?", timeout_s=60.0)

    async def test_requests_are_answered_side_by_side_and_by_one_peer_each(self, open_rig: OpenRig) -> None:
        together, answers = asyncio.Barrier(4), list[bytes]()

        async def answer(data: bytes) -> bytes:
            answers.append(data)
            await together.wait()
            return data.upper()

        async with open_rig() as rig, rig.peer() as other:
            await rig.house.respond("cloud.*.verify", answer)
            if other is not rig.house:
                await other.respond("cloud.*.verify", answer)
                await asyncio.sleep(0.05)
            asking = (rig.house.request("cloud.site1.verify", word, timeout_s=5.0) for word in (b"a", b"b", b"c", b"d"))
            assert await asyncio.gather(*asking) == [b"A", b"B", b"C", b"D"]
            assert sorted(answers) == [b"a", b"b", b"c", b"d"]

    async def test_an_answer_that_fails_is_reported_and_the_asker_is_told_in_time(self, open_rig: OpenRig) -> None:
        reported: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

        async def answer(_: bytes) -> bytes:
            raise ValueError("a fault over there")

        async with open_rig() as rig:
            await rig.house.respond("ask", answer)
            with pytest.raises(Unreachable, match="within"):
                await rig.house.request("ask", b"?", timeout_s=0.2)
        assert [str(error) for error in reported] == ["a fault over there"]

    async def test_live_copies_are_heard_in_order_and_after_an_error_too(self, open_rig: OpenRig) -> None:
        heard: list[str] = []
        reported: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

        async def hear(subject: str, data: bytes) -> None:
            await asyncio.sleep(0.01)
            heard.append(decode(data, Published).text)
            assert subject == f"live.answers.kiosk.r{len(heard) - 1}"
            if len(heard) == 2:
                raise ValueError("deaf for once")

        async with open_rig() as rig:
            await rig.house.listen("live.answers.>", hear)
            for n in range(5):
                await rig.house.publish(published(f"r{n}", str(n)), id=str(n), headers={})

            async def all_heard() -> bool:
                return len(heard) == 5

            await until(all_heard)
        assert heard == ["0", "1", "2", "3", "4"]
        assert [str(error) for error in reported] == ["deaf for once"]


class Seen:
    """A watch that writes down what it is told."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, str, int]] = []
        self.in_hand = 0

    def started(self, stage: Stage, delivery: Delivery) -> None:  # noqa: ARG002
        self.in_hand += 1

    def ended(self, stage: Stage, delivery: Delivery, verdict: str, worked_s: float, error: Any) -> None:  # noqa: ARG002
        assert worked_s >= 0
        self.in_hand -= 1
        self.ends.append((verdict, type(error).__name__, delivery.attempt))


async def test_every_end_of_a_delivery_is_told_to_the_watch(open_rig: OpenRig) -> None:
    seen, stop = Seen(), asyncio.Event()
    script = Script(bad=raising(Reject("no")), flaky=failing_first(1), stuck=stuck)
    async with open_rig(STAGE) as rig:
        job = asyncio.create_task(run(STAGE, script, rig.house, stop, 0.0, seen))
        await ask(rig, asked("a", "fine"), asked("b", "bad"), asked("c", "flaky"), asked("d", "stuck"))

        async def four() -> bool:
            return len(seen.ends) == 4 and script.calls["stuck"] == 1

        await until(four)
        stop.set()
        with pytest.raises(TimeoutError):
            await job
    assert seen.in_hand == 0
    assert sorted(seen.ends) == [
        ("buried", "Reject", 1),
        ("done", "NoneType", 1),
        ("done", "NoneType", 2),
        ("handed_back", "CancelledError", 1),
        ("retried", "OSError", 1),
    ]


class TestServer:
    """What only a server can do to us."""

    async def test_a_server_that_is_killed_in_mid_flow_loses_and_doubles_nothing(
        self, open_server_rig: OpenRig
    ) -> None:
        async def answer(fact: Withheld) -> list[Message]:
            return [published(fact.rid, fact.text)]

        async with (
            open_server_rig(STAGE, AFTER) as rig,
            rig.peer() as other,
            working(STAGE, Script(), rig.house),
            working(AFTER, answer, other),
        ):
            asking = [asyncio.create_task(ask(rig, asked(f"q{n}"))) for n in range(200)]
            await holds(rig, "ANSWERS", 20)
            rig.server.kill()
            await asyncio.sleep(0.1)
            rig.server.start()
            await asyncio.gather(*asking)
            await holds(rig, "ANSWERS", 200)
            assert await texts(rig, "ANSWERS") == sorted(f"q{n}" for n in range(200))
            assert len(await rig.stored("PIPE")) == 200
            assert not await rig.stored("DEAD")

    async def test_what_is_published_while_the_server_is_down_is_stored_when_it_is_back(
        self, open_server_rig: OpenRig
    ) -> None:
        async with open_server_rig() as rig:
            rig.server.kill()
            publishing = asyncio.create_task(rig.house.publish(asked("a"), id="a", headers={}))
            await asyncio.sleep(0.2)
            assert not publishing.done()
            rig.server.start()
            assert await publishing is True
            assert await texts(rig, "ASKS") == ["a"]

    @pytest.mark.parametrize("how", ["closed for good", "deaf"])
    async def test_a_connection_that_nats_py_gave_up_is_mended(self, open_server_rig: OpenRig, how: str) -> None:
        # What the server sent into the dead connection comes again after the ack wait, hence a short one.
        async with open_server_rig(STAGE, ack_wait_s=1.0) as rig, working(STAGE, Script(), rig.house):
            heard: list[str] = []

            async def hear(subject: str, _: bytes) -> None:
                heard.append(subject)

            await rig.house.listen("live.answers.>", hear)
            await ask(rig, asked("a"))
            await holds(rig, "PIPE", 1)
            if how == "deaf":
                rig.house.link.client._reading_task.cancel()  # as after any error inside nats-py's parser
            else:
                await rig.house.link.client.close()  # as nats-py does itself when a credential expires
            await ask(rig, asked("b"))
            await holds(rig, "PIPE", 2)
            await rig.house.publish(published("r1"), id="r1", headers={})

            async def all_heard() -> bool:
                return heard == ["live.answers.kiosk.r1"]

            await until(all_heard)

    async def test_a_missing_consumer_fails_loudly_and_says_what_to_do(self, open_server_rig: OpenRig) -> None:
        async with open_server_rig() as rig:
            with pytest.raises(TopologyMissing, match=r"consumer prefilter on stream ASKS.*tidegate topology apply"):
                await run(STAGE, Script(), rig.house, asyncio.Event())
            await rig.client.jetstream().delete_stream("ASKS")
            with pytest.raises(TopologyMissing, match="stream ASKS"):
                await run(STAGE, Script(), rig.house, asyncio.Event())

    async def test_a_consumer_that_is_deleted_under_a_worker_ends_it_loudly(self, open_server_rig: OpenRig) -> None:
        async with open_server_rig(STAGE) as rig:
            job = asyncio.create_task(run(STAGE, Script(), rig.house, asyncio.Event()))
            await ask(rig, asked("a"))
            await holds(rig, "PIPE", 1)
            await rig.client.jetstream().delete_consumer("ASKS", "prefilter")
            with pytest.raises(ExceptionGroup) as caught:
                await asyncio.wait_for(job, 10)
            assert isinstance(caught.value.exceptions[0], TopologyMissing)

    async def test_a_stream_that_refuses_a_message_says_why(self, open_server_rig: OpenRig) -> None:
        async with open_server_rig() as rig:
            jetstream = rig.client.jetstream()
            config = (await jetstream.stream_info("ASKS")).config
            config.max_msg_size = 256
            await jetstream.update_stream(config)
            with pytest.raises(NotStored, match="message size exceeds maximum"):
                await rig.house.publish(asked("a", "long" * 100), id="a", headers={})

    async def test_a_publish_that_no_stream_takes_gives_up_and_says_so(self, open_server_rig: OpenRig) -> None:
        async with open_server_rig() as rig, Publisher.open(rig.house.link, give_up_s=0.3) as hasty:
            with pytest.raises(TimeoutError, match="no stream holds this subject"):
                await hasty.publish("elsewhere.kiosk.a", b"", {"Nats-Msg-Id": "a"})

    async def test_a_server_that_is_not_there_is_unreachable(self, open_server_rig: OpenRig) -> None:
        async with open_server_rig() as rig:
            rig.server.kill()

            async def is_down() -> bool:
                return not rig.house.link.is_up

            await until(is_down)
            with pytest.raises(Unreachable):
                await rig.house.request("ask", b"?", timeout_s=60.0)
            with pytest.raises(Unreachable):
                await rig.house.last("PIPE", "pipe.kiosk.withheld.a")
            rig.server.start()
