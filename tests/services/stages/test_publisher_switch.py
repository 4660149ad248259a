"""Evidence-only holds at the publisher: an answer that was generated before the switch is not published after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.paths import KIOSK
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import (
    Answer,
    Approved,
    Artefact,
    Check,
    Citation,
    Decision,
    Partial,
    Plan,
    Published,
    Question,
    Replied,
    UnreadableError,
    Withheld,
    encode,
)
from tidegate.schemas.refusal_texts import refusal_text
from tidegate.schemas.subjects import TOKENS, partial, tokens
from tidegate.schemas.switch import Switch
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.switches import SiteSwitches
from tidegate.services.settings import Settings
from tidegate.services.stages.publisher import open as open_publisher
from tidegate.services.stages.publisher.incidents import IncidentRule
from tidegate.services.stages.settings import PublisherSettings
from tidegate.sync.trust.switches import FILE, HeldSwitch, write_switches

pytestmark = pytest.mark.anyio

QUOTE = "The fee is 5 euros a month."
CITED = (Citation(document_id="fees", document_version="v", start=0, end=len(QUOTE), quote=QUOTE),)
WRITTEN = Answer(text="You pay five euros each month.", citations=CITED, confidence=0.9)
QUESTION = Question(text="What is the fee?", language="en", intent="fees", intent_confidence=1.0)
WHOSE: dict[str, Any] = {"rid": "r1", "tenant": "kiosk", "site": "site1", "asked_at_ms": 1, "deadline_at_ms": 2}
PLAN = Plan(
    where="edge", may_escalate=True, k=8, model="reader", shares_ms={"drafter": 5.0}, config_version="t", reason="why"
)
BLOCK = (Decision("safe/promises", "block", "it promises"),)


def approved(answer: Answer = WRITTEN, intent: str = "fees", **more: Any) -> Approved:
    question = msgspec.structs.replace(QUESTION, intent=intent)
    fields = {"plan": PLAN, "route": "edge", **more}
    return Approved(**WHOSE, question=question, answer=answer, **fields)


def blocked(decisions: tuple[Decision, ...] = BLOCK) -> Withheld:
    about: dict[str, Any] = {"reason": "policy_block", "stage": "policy", "plan": PLAN, "question": QUESTION}
    return Withheld(**WHOSE, **about, decisions=decisions)


class Running:
    """A publisher, and the switches that its site has."""

    def __init__(self, settings: Settings, bus: MemoryBus, handler: Any) -> None:
        self.settings, self.bus, self._handler = settings, bus, handler
        self.trust = StatePaths(settings).trust

    async def publish(self, settled: Approved | Withheld | Replied) -> Published:
        [published] = await self._handler(settled)
        assert isinstance(published, Published)
        return published

    def put(self, epoch: int = 1, **fields: Any) -> None:
        named = Switch(tenant="kiosk", why="wrong fees", **{"is_on": True, **fields})
        write_switches(self.trust, (HeldSwitch(named, epoch, "ab" * 32),))


@asynccontextmanager
async def running(directory: Path, **publisher: Any) -> AsyncIterator[Running]:
    state = directory / "state"
    settings = Settings(pack_dir=str(KIOSK), state_dir=str(state), publisher=PublisherSettings(**publisher))
    bus = MemoryBus("site1")
    async with open_publisher(settings, bus) as handler:
        yield Running(settings, bus, handler)


async def test_an_answer_that_was_made_and_judged_before_the_switch_is_published_as_quotations(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        judged = approved()
        assert (await site.publish(judged)).text == WRITTEN.text
        site.put(7)
        found = await site.publish(judged)
        assert (found.outcome, found.text, found.citations) == ("answered", QUOTE, CITED)
        assert Artefact("switch", found.receipt.lineage[0].id, "ab" * 6, 7) in found.receipt.lineage
        [decision] = found.receipt.decisions
        assert (decision.rule, decision.verb) == ("switch/evidence_only", "transform")
        assert "wrong fees" in decision.reason
        site.put(8, is_on=False)
        assert (await site.publish(judged)).text == WRITTEN.text


@pytest.mark.parametrize(
    "answer",
    [
        Answer(text="You pay five euros each month.", confidence=0.9),
        Answer(text='{"fee": 5}', format="json", citations=CITED, checks=(Check("schema", True, 1.0),), confidence=1.0),
    ],
)
async def test_what_quotes_nothing_is_withheld_with_a_reason(tmp_path: Path, answer: Answer) -> None:
    async with running(tmp_path) as site:
        site.put()
        found = await site.publish(approved(answer))
        assert (found.outcome, found.reason) == ("withheld", "evidence_only")
        assert (found.text, found.citations) == (refusal_text("evidence_only", "en"), ())
        assert (found.receipt.decisions[-1].rule, found.receipt.decisions[-1].verb) == ("switch/evidence_only", "block")


@pytest.mark.parametrize(
    ("scope", "is_held"),
    [
        ({}, True),
        ({"site": "site1"}, True),
        ({"site": "site2"}, False),
        ({"class_name": "fees"}, True),
        ({"class_name": "cards"}, False),
    ],
)
async def test_only_what_is_in_its_scope_is_held(tmp_path: Path, scope: dict[str, Any], is_held: bool) -> None:
    async with running(tmp_path) as site:
        site.put(**scope)
        assert ((await site.publish(approved())).text == QUOTE) is is_held


async def test_the_site_s_own_words_to_a_person_in_distress_are_never_held(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        site.put()
        replied = Replied(**WHOSE, reason="distress", stage="prefilter", text="Call 112.", language="en")
        assert (await site.publish(replied)).text == "Call 112."


async def test_nothing_is_shown_of_an_answer_in_the_making(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        made = Partial(**WHOSE, source="cloud", question=QUESTION, plan=PLAN, answer=WRITTEN)
        site.put()
        await site.bus.publish_core(partial(True, "kiosk", "r1"), encode(made))
        await asyncio.sleep(0.1)
        assert await site.bus.read(TOKENS, tokens("kiosk", "r1")) == []
        site.put(2, is_on=False)
        await site.bus.publish_core(partial(True, "kiosk", "r1"), encode(made))
        async with asyncio.timeout(10):
            while not await site.bus.read(TOKENS, tokens("kiosk", "r1")):  # noqa: ASYNC110 - a stream has no event
                await asyncio.sleep(0.01)


async def test_nothing_is_published_where_the_switches_cannot_be_read(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        site.put()
        (site.trust / FILE).write_bytes(b"\xc1")
        with pytest.raises(UnreadableError):
            await site.publish(approved())


async def test_an_incident_puts_the_class_on_here_and_only_the_hub_puts_it_off(tmp_path: Path) -> None:
    async with running(tmp_path, incident_share=0.5, incident_from=2) as site:
        await site.publish(blocked())
        assert (await site.publish(approved())).text == WRITTEN.text
        await site.publish(blocked())
        assert (await site.publish(approved())).text == QUOTE
        assert (await site.publish(approved(intent="cards"))).text == WRITTEN.text
        [status] = SiteSwitches(site.settings).status()
        assert (status.raised_by, status.switch.class_name, status.epoch) == ("incident", "fees", 0)
        assert status.switch.why == "2 of 3 answers were blocked within 600 s"
        [event] = EventSpool(StatePaths(site.settings).audit_events).waiting(9)
        assert event.event is not None
        assert (event.event.kind, event.event.tenant) == ("evidence_only", "kiosk")
    async with running(tmp_path, incident_share=0.5, incident_from=1) as site:
        assert (await site.publish(approved())).text == QUOTE, "it outlives a restart"
        site.put(site="site1", class_name="fees", is_on=False)
        assert (await site.publish(approved())).text == WRITTEN.text
        for _ in range(2):
            await site.publish(blocked())
        assert (await site.publish(approved())).text == QUOTE, "another incident comes after what the hub has said"


async def test_one_block_by_a_p1_rule_puts_the_whole_tenant_on(tmp_path: Path) -> None:
    async with running(tmp_path, p1_rules=("safe/leaks",)) as site:
        await site.publish(blocked())
        assert SiteSwitches(site.settings).status() == ()
        await site.publish(blocked((Decision("safe/leaks", "block", "a secret"),)))
        assert (await site.publish(approved(intent="cards"))).text == QUOTE


@pytest.mark.parametrize(
    ("seen", "raised"),
    [
        ([(0, "b"), (1, "b"), (2, "b")], 3),
        ([(0, "b"), (1, "a"), (2, "b"), (3, "a"), (4, "b")], 5),
        ([(0, "b"), (1, "b"), (100, "b")], 0),
        ([(0, "a"), (1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "b"), (6, "b")], 0),
        ([(0, "n"), (1, "n"), (2, "n"), (3, "n")], 0),
    ],
)
def test_the_rule_counts_within_its_window(seen: list[tuple[int, str]], raised: int) -> None:
    rule = IncidentRule(PublisherSettings(incident_share=0.5, incident_from=3, incident_window_s=60), "site1")
    reasons = {"a": "", "b": "policy_block", "n": "abstained"}
    found = [rule.observe("kiosk", "fees", reasons[kind], (), at_s) for at_s, kind in seen]
    assert next((n for n, each in enumerate(found, 1) if each is not None), 0) == raised
