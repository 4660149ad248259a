"""What the router learns of link, cloud and drafts: estimates as values, the look-out in memory and on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from tidegate.brokers.jetstream.bus import JetStreamHouse
from tidegate.brokers.memory.bus import MemoryHouse
from tidegate.brokers.servers.fleet import fleet
from tidegate.brokers.settings import Nats
from tidegate.brokers.topology.plan import declare_fleet
from tidegate.schemas import Plan, Published, Question, Receipt, Screened, Speculation, encode
from tidegate.schemas.cloud import CloudState
from tidegate.services.pipeline import WORKERS
from tidegate.services.planning.estimates import Acceptances, RoundTrip
from tidegate.services.planning.table import class_of
from tidegate.services.stages.router.signals import Lookout, cloud_state

pytestmark = pytest.mark.anyio

QUESTION = Question(text="How?", language="en", intent="cards", intent_confidence=0.9)
STATE = CloudState(step_ms=12.5, queue=3, drafts=True)
DRAFTERS = ("lookup", "lm")
CLASS = class_of("kiosk", "reader", DRAFTERS)


def published(
    rid: str = "r1", *, tenant: str = "kiosk", site: str = "site1", length: int = 4,
    drafted: int = 40, accepted: int = 40, drafters: tuple[str, ...] = DRAFTERS, model: str = "reader",
) -> Published:  # fmt: skip
    plan = Plan(
        where="edge", may_escalate=True, k=8, model=model, shares_ms={}, table="t", reason="r",
        mode="cloud_with_shipped_draft", drafters=drafters, draft_length=length,
    )  # fmt: skip
    told = Speculation(steps=20, tokens=60, drafted=drafted, accepted=accepted)
    receipt = Receipt(site=site, route="cloud", plan=plan, lineage=(), citations=(), decisions=(), speculation=told)
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
    assert not cloud_state(reply).drafts


def test_what_the_hub_says_of_itself_is_read_in_both_forms_and_from_the_future() -> None:
    assert cloud_state(encode(STATE)) == STATE
    said = b'{"type":"cloudstate","step_ms":12.5,"queue":3,"drafts":true,"from_the_future":1}'
    assert cloud_state(said) == STATE


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await holds():  # noqa: ASYNC110 - nobody tells when a message was heard
            await asyncio.sleep(0.005)


async def pong(_: bytes) -> bytes:
    return b""


async def state(_: bytes) -> bytes:
    return encode(STATE)


async def test_a_lookout_sees_the_hub_come_and_what_it_says() -> None:
    house = MemoryHouse("site1")
    lookout = Lookout(house, "site1", [])
    await lookout.look()
    assert not lookout.signals.link_up
    assert lookout.signals.cloud == CloudState()
    await house.respond("cloud.site1.ping", state)
    await lookout.look()
    assert lookout.signals.link_up
    assert lookout.signals.cloud == STATE
    assert lookout.signals.rtt_ms > 0.0
    assert lookout.signals.rtt_var_ms == pytest.approx(lookout.signals.rtt_ms / 2)


async def test_a_hub_that_sends_back_what_it_got_is_up_and_unknown() -> None:
    house = MemoryHouse("site1")
    await house.respond("cloud.site1.ping", pong)
    lookout = Lookout(house, "site1", [])
    await lookout.look()
    assert lookout.signals.link_up
    assert lookout.signals.cloud == CloudState()


async def test_a_lookout_sees_the_longest_queue() -> None:
    house = MemoryHouse("site1", [WORKERS["router"]])
    for n in range(3):
        fact = Screened(rid=f"r{n}", tenant="kiosk", site="site1", asked_at_ms=0, deadline_at_ms=1, question=QUESTION)
        await house.publish(fact, id=f"id{n}", headers={})
    lookout = Lookout(house, "site1", [WORKERS["drafter"], WORKERS["router"]])
    await lookout.look()
    assert lookout.signals.queue_depth == 3


async def test_a_lookout_hears_how_drafts_fared_in_its_own_sites_answers_only() -> None:
    house = MemoryHouse("site1")
    lookout = Lookout(house, "site1", [], ("kiosk",))
    await lookout.keep_hearing()
    for number, answer in enumerate((published("r1", site="site2", accepted=0), published("r2"))):
        await house.publish(answer, id=str(number), headers={})

    async def heard() -> bool:
        await lookout.look()
        return bool(lookout.signals.acceptance)

    await until(heard)
    assert lookout.signals.acceptance == {CLASS: pytest.approx(1.0)}


async def test_over_a_real_leaf_the_lookout_sees_cloud_link_and_drafts_and_the_link_go(tmp_path: Path) -> None:
    async with fleet(tmp_path, ["site1", "site2"]) as servers:
        await declare_fleet(servers, tuple(WORKERS.values()))
        async with (
            JetStreamHouse.open(Nats(url=servers.hub.url), "hub") as hub,
            JetStreamHouse.open(Nats(url=servers.sites["site1"].url), "site1") as house,
            JetStreamHouse.open(Nats(url=servers.sites["site2"].url), "site2") as other,
        ):
            lookout = Lookout(house, "site1", [WORKERS["router"]], ("kiosk",))
            await lookout.keep_hearing()
            await lookout.look()
            assert not lookout.signals.link_up
            await hub.respond("cloud.*.ping", state)
            await other.publish(published("r0", site="site2", accepted=0), id="0", headers={})
            await house.publish(published("r1"), id="1", headers={})

            async def seen() -> bool:
                await lookout.look()
                return lookout.signals.link_up and bool(lookout.signals.acceptance)

            await until(seen)
            assert lookout.signals.cloud == STATE
            assert lookout.signals.acceptance == {CLASS: pytest.approx(1.0)}
            assert 0.0 < lookout.signals.rtt_ms < lookout.signals.careful_rtt_ms
            servers.hub.kill()
            await lookout.look()
            assert not lookout.signals.link_up
            assert lookout.signals.cloud == CloudState()
