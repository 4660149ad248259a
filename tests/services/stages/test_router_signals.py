"""What the router learns of link, cloud and drafts: estimates as values, the collector in memory and on servers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.servers.fleet import open_fleet
from tidegate.schemas import Plan, Published, Question, Receipt, Screened, Speculation, encode
from tidegate.schemas.uplink import CloudState
from tidegate.services.pipeline import WORKERS
from tidegate.services.planning.config import class_of
from tidegate.services.planning.estimates import Acceptances, RoundTrip
from tidegate.services.stages.router.signals import SignalCollector, cloud_state

pytestmark = pytest.mark.anyio

QUESTION = Question(text="How?", language="en", intent="cards", intent_confidence=0.9)
STATE = CloudState(step_ms=12.5, queue=3, verifies_drafts=True)
DRAFTERS = ("lookup", "lm")
CLASS = class_of("kiosk", "reader", DRAFTERS)


def published(
    rid: str = "r1", *, tenant: str = "kiosk", site: str = "site1", length: int = 4,
    drafted: int = 40, accepted: int = 40, drafters: tuple[str, ...] = DRAFTERS, model: str = "reader",
) -> Published:  # fmt: skip
    plan = Plan(
        where="edge", may_escalate=True, k=8, model=model, shares_ms={}, config_version="t", reason="r",
        mode="cloud_with_shipped_draft", drafters=drafters, draft_length=length,
    )  # fmt: skip
    cost = Speculation(steps=20, tokens=60, drafted=drafted, accepted=accepted)
    receipt = Receipt(site=site, route="cloud", plan=plan, lineage=(), citations=(), decisions=(), speculation=cost)
    return Published(
        rid=rid, tenant=tenant, site=site, asked_at_ms=1, deadline_at_ms=2, outcome="answered", text="so",
        receipt=receipt,
    )  # fmt: skip


def test_round_trips_are_smoothed_as_rfc_6298_says() -> None:
    first = RoundTrip().after(100.0)
    assert (first.smoothed_ms, first.variation_ms) == (100.0, 50.0)
    second = first.after(180.0)
    assert (second.smoothed_ms, second.variation_ms) == (110.0, 0.75 * 50 + 0.25 * 80)
    still = second
    for _ in range(200):
        still = still.after(110.0)
    assert still.smoothed_ms == pytest.approx(110.0)
    assert still.variation_ms == pytest.approx(0.0, abs=1e-6)


def test_acceptance_is_learned_by_class_as_a_moving_average() -> None:
    learned = Acceptances("site1", ("kiosk",))
    assert learned.known(0.0) == {}
    assert learned.learn(published(), 0.0)
    assert learned.known(1.0) == {CLASS: pytest.approx(1.0)}
    assert learned.learn(published(accepted=0), 1.0)
    assert learned.known(1.0) == {CLASS: pytest.approx(0.8)}
    assert learned.learn(published(drafters=("lookup",), drafted=4, accepted=2, length=4), 1.0)
    assert learned.known(1.0)[class_of("kiosk", "reader", ("lookup",))] == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize(
    "answer",
    [
        published(site="site2"),
        published(tenant="stranger"),
        published(length=0),
        published(drafted=0, accepted=0),
        published(drafted=4, accepted=5),
        published(drafters=()),
        msgspec.structs.replace(published(), receipt=msgspec.structs.replace(published().receipt, speculation=None)),
        msgspec.structs.replace(published(), receipt=msgspec.structs.replace(published().receipt, plan=None)),
    ],
)
def test_an_answer_that_is_not_ours_or_had_no_draft_teaches_nothing(answer: Published) -> None:
    learned = Acceptances("site1", ("kiosk",))
    assert not learned.learn(answer, 0.0)
    assert learned.known(0.0) == {}


def test_what_was_learned_is_forgotten_so_that_it_is_tried_again() -> None:
    learned = Acceptances("site1", ("kiosk",), memory_s=60.0)
    learned.learn(published(accepted=0), 0.0)
    assert learned.known(59.0) == {CLASS: pytest.approx(0.0)}
    assert learned.known(60.0) == {}
    learned.learn(published(), 61.0)
    assert learned.known(61.0) == {CLASS: pytest.approx(1.0)}


def test_the_number_of_classes_is_bounded_and_the_longest_unseen_goes_first() -> None:
    learned = Acceptances("site1", ("kiosk",), classes=2)
    for model in ("a", "b", "a", "c"):
        learned.learn(published(model=model), 0.0)
    assert set(learned.known(0.0)) == {class_of("kiosk", model, DRAFTERS) for model in ("a", "c")}


@pytest.mark.parametrize(
    "reply",
    [
        b"", b"x", b"\xff", b"{}", b'{"type":"cloudstate","step_ms":-1}', b'{"type":"cloudstate","queue":-1}',
        encode(published()), encode(STATE)[:-1], b'{"type":"cloudstate","step_ms":1e9}',
    ],
)  # fmt: skip
def test_a_reply_that_says_nothing_says_that_nothing_is_known(reply: bytes) -> None:
    assert cloud_state(reply) == CloudState()
    assert not cloud_state(reply).verifies_drafts


def test_what_the_hub_says_of_itself_is_read_in_both_forms_and_from_the_future() -> None:
    assert cloud_state(encode(STATE)) == STATE
    reply = b'{"type":"cloudstate","step_ms":12.5,"queue":3,"verifies_drafts":true,"from_the_future":1}'
    assert cloud_state(reply) == STATE


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await holds():  # noqa: ASYNC110 - nobody tells when a message was heard
            await asyncio.sleep(0.005)


async def pong(_: bytes) -> bytes:
    return b""


async def state(_: bytes) -> bytes:
    return encode(STATE)


async def test_a_lookout_sees_the_hub_come_and_what_it_says() -> None:
    bus = MemoryBus("site1")
    collector = SignalCollector(bus, "site1", [])
    await collector.collect()
    assert not collector.signals.link_up
    assert collector.signals.cloud == CloudState()
    await bus.respond("cloud.site1.ping", state)
    await collector.collect()
    assert collector.signals.link_up
    assert collector.signals.cloud == STATE
    assert collector.signals.rtt_ms > 0.0
    assert collector.signals.rtt_var_ms == pytest.approx(collector.signals.rtt_ms / 2)


async def test_a_hub_that_sends_back_what_it_got_is_up_and_unknown() -> None:
    bus = MemoryBus("site1")
    await bus.respond("cloud.site1.ping", pong)
    collector = SignalCollector(bus, "site1", [])
    await collector.collect()
    assert collector.signals.link_up
    assert collector.signals.cloud == CloudState()


async def test_a_lookout_sees_the_longest_queue() -> None:
    bus = MemoryBus("site1", [WORKERS["router"]])
    for n in range(3):
        fact = Screened(rid=f"r{n}", tenant="kiosk", site="site1", asked_at_ms=0, deadline_at_ms=1, question=QUESTION)
        await bus.publish(fact, id=f"id{n}", headers={})
    collector = SignalCollector(bus, "site1", [WORKERS["drafter"], WORKERS["router"]])
    await collector.collect()
    assert collector.signals.queue_depth == 3


async def test_a_lookout_hears_how_drafts_fared_in_its_own_sites_answers_only() -> None:
    bus = MemoryBus("site1")
    collector = SignalCollector(bus, "site1", [], ("kiosk",))
    await collector.learn_from_answers()
    for number, answer in enumerate((published("r1", site="site2", accepted=0), published("r2"))):
        await bus.publish(answer, id=str(number), headers={})

    async def heard() -> bool:
        await collector.collect()
        return bool(collector.signals.acceptance)

    await until(heard)
    assert collector.signals.acceptance == {CLASS: pytest.approx(1.0)}


async def test_over_a_real_leaf_the_lookout_sees_cloud_link_and_drafts_and_the_link_go(tmp_path: Path) -> None:
    async with open_fleet(tmp_path, ["site1", "site2"]) as servers:
        await declare_fleet(servers, tuple(WORKERS.values()))
        async with (
            JetStreamBus.open(servers.hub.nats, "hub") as hub,
            JetStreamBus.open(servers.sites["site1"].nats, "site1") as bus,
            JetStreamBus.open(servers.sites["site2"].nats, "site2") as other,
        ):
            collector = SignalCollector(bus, "site1", [WORKERS["router"]], ("kiosk",))
            await collector.learn_from_answers()
            await collector.collect()
            assert not collector.signals.link_up
            await hub.respond("cloud.*.ping", state)
            await other.publish(published("r0", site="site2", accepted=0), id="0", headers={})
            await bus.publish(published("r1"), id="1", headers={})

            async def seen() -> bool:
                await collector.collect()
                return collector.signals.link_up and bool(collector.signals.acceptance)

            await until(seen)
            assert collector.signals.cloud == STATE
            assert collector.signals.acceptance == {CLASS: pytest.approx(1.0)}
            assert 0.0 < collector.signals.rtt_ms < collector.signals.careful_rtt_ms
            servers.hub.kill()
            await collector.collect()
            assert not collector.signals.link_up
            assert collector.signals.cloud == CloudState()
