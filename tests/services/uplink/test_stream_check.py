"""What a link acknowledged and lost is found and stored, once and in order; on a sound link nothing is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.escalation_site import fact
from tests.support.hub_intakes import hub_intake
from tests.support.nats_fleet import arrived, linked, until
from tests.support.stream_guards import (
    SITE,
    Guarded,
    acknowledge_to_the_hub,
    acknowledge_to_the_site,
    guarded,
    restored,
)
from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.process.tasks import end_tasks
from tidegate.brokers.topology.streams import UP_CONSUMER, down_consumer
from tidegate.schemas import (
    CloudState,
    Escalated,
    LostEscalation,
    Refused,
    StreamCheck,
    StreamReport,
    UnreadableError,
    decode,
    encode,
)
from tidegate.schemas.subjects import ESCALATIONS, HUB, VERDICTS, Source, ping
from tidegate.services.uplink.stream_check import NotComparedError, StreamGuard
from tidegate.services.uplink.stream_check_server import PingServer

pytestmark = pytest.mark.anyio


def rids(*numbers: int) -> list[str]:
    return [f"r{n}" for n in numbers]


async def keep_comparing(ends: Guarded, count: int, restored_before: float, stream: str) -> None:
    """Compare until so many were restored."""

    async def done() -> bool:
        try:
            await ends.compare()
        except UnreachableError:
            return False
        return restored(stream) - restored_before >= count

    await until(done)


async def test_escalations_that_the_hub_acknowledged_and_has_not_reach_it_once_and_in_order(tmp_path: Path) -> None:
    async with linked(tmp_path, [SITE]) as fleet, guarded(fleet) as ends:
        before = restored(ESCALATIONS)
        await ends.escalate(0)
        await arrived(fleet.hub, ESCALATIONS, 1)
        await ends.compare()
        fleet.fleet.hub.kill()
        await ends.escalate(*range(1, 101))
        await acknowledge_to_the_site(fleet, 101)
        await fleet.fleet.hub.start()
        await keep_comparing(ends, 100, before, ESCALATIONS)
        await ends.escalate(101)
        await until(lambda: has_all(ends, 102))
        await ends.compare()
        assert await ends.at_hub() == rids(*range(102))
        assert restored(ESCALATIONS) - before == 100
        [stored] = await messages(ends.hub.link.client, ESCALATIONS, "escalations.site1.kiosk.r7")
        [at_site] = await messages(ends.site.link.client, ESCALATIONS, "escalations.site1.kiosk.r7")
        assert (stored.data, stored.headers) == (at_site.data, at_site.headers)


async def has_all(ends: Guarded, count: int) -> bool:
    return len(await ends.at_hub()) >= count


async def test_a_gap_before_what_the_hub_has_is_filled(tmp_path: Path) -> None:
    async with linked(tmp_path, [SITE]) as fleet, guarded(fleet) as ends:
        before = restored(ESCALATIONS)
        fleet.fleet.hub.kill()
        await ends.escalate(0, 1, 2)
        await acknowledge_to_the_site(fleet, 3)
        await ends.escalate(3, 4)
        await fleet.fleet.hub.start()
        await until(lambda: has_all(ends, 2))
        assert await ends.at_hub() == rids(3, 4)
        await keep_comparing(ends, 3, before, ESCALATIONS)
        assert await ends.at_hub() == rids(3, 4, 0, 1, 2)


async def test_a_message_keeps_its_id_and_cause_so_that_the_stream_itself_drops_it_when_it_comes_again(
    tmp_path: Path,
) -> None:
    async with linked(tmp_path, [SITE]) as fleet, guarded(fleet) as ends:
        await ends.escalate(0)
        await arrived(fleet.hub, ESCALATIONS, 1)
        escalated = fact(Escalated, "Question 0?", rid="r0", reason="low_confidence")
        lost = LostEscalation(escalated=escalated, id="e0", cause="PIPE:0")
        await ends.site.request(ping(SITE), encode(lost), timeout_s=5.0)
        assert await ends.at_hub() == rids(0)


async def test_verdicts_that_the_mirror_skipped_come_to_the_pipeline_once_and_in_order(tmp_path: Path) -> None:
    async with linked(tmp_path, [SITE]) as fleet, guarded(fleet) as ends:
        before = restored(VERDICTS)
        await ends.give_verdicts(0)
        await arrived(fleet.sites[SITE], VERDICTS, 1)
        fleet.fleet.sites[SITE].kill()
        await ends.give_verdicts(*range(1, 101))
        await acknowledge_to_the_hub(fleet, 101)
        await fleet.fleet.sites[SITE].start()
        await keep_comparing(ends, 100, before, VERDICTS)
        await ends.give_verdicts(101)

        async def has_the_last() -> bool:
            return "r101" in await ends.at_site()

        await until(has_the_last)
        await ends.compare()
        assert await ends.at_site() == rids(0, 101, *range(1, 101))
        assert restored(VERDICTS) - before == 100


async def test_on_a_sound_link_nothing_is_ever_taken_for_lost(tmp_path: Path) -> None:
    async with linked(tmp_path, [SITE]) as fleet, guarded(fleet) as ends:
        before = restored(ESCALATIONS), restored(VERDICTS)
        comparing = asyncio.create_task(ends.guard.keep_checking(every_s=0.005))
        for n in range(0, 400, 20):
            await asyncio.gather(ends.escalate(*range(n, n + 20)), ends.give_verdicts(*range(n, n + 20)))
        await arrived(fleet.hub, ESCALATIONS, 400)
        await arrived(fleet.sites[SITE], VERDICTS, 400)
        await until(lambda: is_acknowledged(ends, 400))
        await ends.compare()
        await end_tasks(comparing)
        assert sorted(await ends.at_hub()) == sorted(await ends.at_site()) == sorted(rids(*range(400)))
        assert (restored(ESCALATIONS), restored(VERDICTS)) == before


async def is_acknowledged(ends: Guarded, count: int) -> bool:
    up = await ends.site.acknowledged(Source(ESCALATIONS, ">"), UP_CONSUMER, count, 1)
    down = await ends.hub.acknowledged(Source(VERDICTS, ">"), down_consumer(SITE), count, 1)
    return up.upto == down.upto == count


async def test_the_hub_stores_no_escalation_under_the_name_of_another_site() -> None:
    bus = MemoryBus(HUB)
    server = PingServer(bus, CloudState, hub_intake())
    foreign = fact(Escalated, "Whose?", site="site2", reason="low_confidence")
    refused = await server.answer(ping("site1"), encode(LostEscalation(escalated=foreign, id="e1")))
    assert decode(refused, Refused).code == "refused_at_hub"
    assert bus.stored(ESCALATIONS) == ()
    await server.answer(ping("site2"), encode(LostEscalation(escalated=foreign, id="e1")))
    assert [message.subject for message in bus.stored(ESCALATIONS)] == ["escalations.site2.kiosk.r1"]


@pytest.mark.parametrize("data", [b"", b"here", b"\xc1", encode(CloudState())])
async def test_whatever_else_comes_under_the_subject_is_a_ping(data: bytes) -> None:
    server = PingServer(MemoryBus(HUB), lambda: CloudState(queue=7), hub_intake())
    assert decode(await server.answer(ping("site1"), data), CloudState).queue == 7


async def test_an_older_hub_is_named_and_asked_again_when_it_may_have_been_updated() -> None:
    bus = MemoryBus(SITE)
    replies = [encode(CloudState())]

    async def reply(data: bytes) -> bytes:
        return replies[-1] if replies else await PingServer(bus, CloudState, hub_intake()).answer(ping(SITE), data)

    await bus.respond(ping(SITE), reply)
    guard = StreamGuard(bus, SITE)
    with pytest.raises(NotComparedError):
        await guard.check()
    replies.clear()
    assert await guard.check() is False


async def test_no_fault_ends_the_comparisons_and_the_same_one_is_logged_once() -> None:
    bus, asked = MemoryBus(SITE), []

    async def reply(data: bytes) -> bytes:
        asked.append(data)
        return encode(StreamReport())

    class Faulty(StreamGuard):
        async def check(self) -> bool:
            await super().check()
            raise ZeroDivisionError("unforeseen")

    await bus.respond(ping(SITE), reply)
    with capture_logs() as lines:
        comparing = asyncio.create_task(Faulty(bus, SITE).keep_checking(every_s=0.001))

        async def asked_often() -> bool:
            return len(asked) > 9

        await until(asked_often)
        comparing.cancel()
        await asyncio.wait([comparing])
    assert [line["event"] for line in lines].count("streams_not_compared") == 1


async def test_what_no_message_can_hold_is_named_and_passed_over(tmp_path: Path) -> None:
    async with linked(tmp_path, [SITE]) as fleet, guarded(fleet) as ends:
        before = restored(ESCALATIONS)
        fleet.fleet.hub.kill()
        long = fact(Escalated, "x" * ((1 << 20) - 1500), rid="long", reason="low_confidence")
        await ends.site.publish(long, id="long", headers={})
        await ends.escalate(1)
        await acknowledge_to_the_site(fleet, 2)
        await fleet.fleet.hub.start()
        with capture_logs() as lines:
            await keep_comparing(ends, 1, before, ESCALATIONS)
        assert await ends.at_hub() == rids(1)
        assert [line["sequence"] for line in lines if line["event"] == "not_restored"] == [1]


def test_a_comparison_names_requests_and_nothing_else() -> None:
    for key in ("kiosk.>", "kiosk.*", "kiosk", "a.b.c", "kiosk.r1\r\n", "kiosk.r1\n"):
        with pytest.raises(UnreadableError, match="regex"):
            decode(encode(StreamCheck(escalations=(key,))), StreamCheck)
