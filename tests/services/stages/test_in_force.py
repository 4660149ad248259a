"""What comes into force is seen by the next request, in every stage, without a restart; and no request sees two."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import msgspec
import pytest

from tests.support.active_site import ABSTAINS, DISTRESS, QUESTION, put_in_force, site_at
from tests.support.edge_runtime import asked, open_runtime
from tests.support.escalation_site import routed
from tidegate import EdgeRuntime
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import Published, Retrieved
from tidegate.schemas.artefact import Rung, StalenessBudget
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.packs.active import POLL_S
from tidegate.services.packs.findings import PackError
from tidegate.services.settings import Settings
from tidegate.services.stages import retriever
from tidegate.sync.rules.staleness import HeldArtefact, TimeJudgement
from tidegate.sync.trust.standing import FILE, write_standing

pytestmark = pytest.mark.anyio

TENANTS = ("kiosk", "north", "south", "stale", "empty")
"""One for each test, so that none sees what another one has put into force; the runtime is opened once."""
STRANGE = "Zibble?"
GERMAN = "Wann ist die Filiale am Samstag geöffnet?"
SEEN_WITHIN_S = 20 * POLL_S
"""On an idle machine it takes a poll and some milliseconds; this one may be busy."""


class Running(NamedTuple):
    """An opened site, with nothing in force for any of its tenants at first."""

    settings: Settings
    runtime: EdgeRuntime

    async def ask(self, tenant: str, text: str = QUESTION) -> Published:
        return await self.runtime.answer(msgspec.structs.replace(asked(text), tenant=tenant))

    async def put(self, tenant: str, changed: dict[str, str] | None = None, epoch: int = 1) -> int:
        """Bring parts into force, and wait until they are seen."""
        number = await asyncio.to_thread(put_in_force, self.settings, changed, tenant, branch=epoch)
        async with asyncio.timeout(20.0):
            while True:
                if (await self.ask(tenant, DISTRESS[0])).generation == number:
                    return number
                await asyncio.sleep(POLL_S)


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    settings = site_at(tmp_path_factory.mktemp("active") / "state", *TENANTS)
    async with open_runtime(settings) as runtime:
        yield Running(settings, runtime)


def policy_epochs(published: Published) -> set[int]:
    return {part.epoch for part in published.receipt.lineage if part.kind == "policy"}


async def test_a_policy_that_is_swapped_in_mid_stream_is_seen_by_the_next_request_and_no_request_sees_two(
    running: Running,
) -> None:
    first = await running.put("kiosk")
    answers: list[tuple[float, Published]] = []
    is_over = asyncio.Event()

    async def ask_on() -> None:
        while not is_over.is_set():
            began_s = time.monotonic()
            answers.append((began_s, await running.ask("kiosk")))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(ask_on())
        await asyncio.sleep(0.5)
        second = await asyncio.to_thread(put_in_force, running.settings, {"policy/branch": ABSTAINS}, "kiosk", branch=2)
        swapped_s = time.monotonic()
        await asyncio.sleep(1.0)
        is_over.set()
    expected = {first: ("answered", {1}), second: ("abstained", {2})}
    found = {answer.generation: (answer.outcome, policy_epochs(answer)) for _, answer in answers}
    assert found == expected
    for _, answer in answers:
        assert (answer.outcome, policy_epochs(answer)) == expected[answer.generation], "judged by two generations"
        [pack] = [part for part in answer.receipt.lineage if part.kind == "pack"]
        assert (pack.id, pack.epoch) == ("kiosk", answer.generation)
    assert max(began_s - swapped_s for began_s, answer in answers if answer.generation == first) < SEEN_WITHIN_S


async def test_a_set_that_cannot_be_used_is_refused_by_name_and_the_one_before_goes_on(running: Running) -> None:
    number = await running.put("north")
    for path, text, file in (
        ("policy/branch", "policy_id: branch\nallow: [everything]\n", "policies/branch.yaml"),
        ("intents/intents", "- id: hours\n", "intents.yaml"),
        ("site-settings/site", "[prefilter]\nunsafe_threshold = 3\n", "site.toml"),
        ("thesaurus/thesaurus", "- {}\n", "thesaurus.yaml"),
    ):
        with pytest.raises(PackError, match=file):
            await running.put("north", {path: text}, epoch=2)
    published = await running.ask("north")
    assert (published.generation, published.outcome, policy_epochs(published)) == (number, "answered", {1})


async def test_every_part_that_a_stage_reads_comes_into_force_without_a_restart(running: Running) -> None:
    await running.put("south")
    plain = await running.ask("south", DISTRESS[0])
    assert (plain.reason, plain.generation) == ("distress", 1)
    assert (await running.ask("south", GERMAN)).outcome == "answered"
    number = await running.put(
        "south",
        {
            "replies/replies": "- intent: despair\n  texts: {en: 'Ring {emergency} now.'}\n",
            "site-settings/site": '[prefilter]\nlanguages = ["en"]\nemergency = "999"\n',
            "thesaurus/thesaurus": "- {language: en, words: [lobby, zibble]}\n",
        },
        epoch=7,
    )
    changed = await running.ask("south", DISTRESS[0])
    assert changed.text == "Ring 999 now."
    assert (await running.ask("south", GERMAN)).reason == "unsupported_language"
    async with retriever.open(running.settings, MemoryBus("site1")) as retrieve:
        for generation, is_found in ((1, False), (number, True)):
            [found] = await retrieve(routed(STRANGE, tenant="south", generation=generation))
            assert isinstance(found, Retrieved)
            assert any(each.bm25 and "lobby" in each.text for each in found.passages) is is_found
    clear = await running.ask("south", STRANGE)
    assert (policy_epochs(clear), clear.generation) == ({7}, number)


async def test_a_site_without_anything_in_force_is_closed_until_something_is(running: Running) -> None:
    closed = await running.ask("empty")
    assert (closed.outcome, closed.reason, closed.generation, closed.citations) == ("withheld", "closed", 0, ())
    assert "brought up to date" in closed.text
    [made] = closed.receipt.degradations
    assert (made.stage, made.level) == ("standing", "abstain")
    assert "nothing is in force" in made.reason
    await running.put("empty")
    assert (await running.ask("empty")).outcome == "answered"


HOUR = 3_600_000


@pytest.fixture
def standing(running: Running) -> Iterator[None]:
    """Nobody has written how old the site is, before and after."""
    yield
    (StatePaths(running.settings).trust / FILE).unlink(missing_ok=True)


def age(settings: Settings, hours: float, at_hard: Rung = "evidence-only") -> None:
    """Write, as the sync worker does, that the policy of the tenant `stale` was known to be current so long ago."""
    budget = StalenessBudget(soft_s=3600, hard_s=7200, at_hard=at_hard, closed_s=14_400)
    now_ms = time.time_ns() // 1_000_000
    held = [
        HeldArtefact(name=f"artefacts/{tenant}/policy/branch", budget=budget, current_at_ms=now_ms - int(ago * HOUR))
        for tenant, ago in ((tenant, hours if tenant == "stale" else 0.0) for tenant in TENANTS)
    ]
    write_standing(StatePaths(settings).trust, held, TimeJudgement(trusted_ms=now_ms))


@pytest.mark.usefixtures("standing")
async def test_answers_of_a_site_that_ages_are_labelled_then_quote_only_then_there_are_none(running: Running) -> None:
    await running.put("stale")
    found: dict[float, Published] = {}
    for hours in (0, 1, 2, 4):
        age(running.settings, hours)
        found[hours] = await running.ask("stale")
    levels = {
        hours: [made.level for made in answer.receipt.degradations if made.stage == "standing"]
        for hours, answer in found.items()
    }
    assert levels == {0: [], 1: ["full"], 2: ["evidence_only", "full"], 4: ["abstain", "full"]}
    assert [answer.outcome for answer in found.values()] == ["answered", "answered", "answered", "withheld"]
    assert found[0].text == found[1].text
    assert found[2].text == "\n".join(citation.quote for citation in found[2].citations)
    assert found[2].receipt.decisions[0].rule == "standing/evidence_only"
    assert found[4].reason == "closed"
    reasons = [
        made.reason for answer in found.values() for made in answer.receipt.degradations if made.stage == "standing"
    ]
    assert all("stale/policy/branch" in reason for reason in reasons)
    assert (await running.ask("stale", DISTRESS[0])).reason == "distress", "that is answered by whatever is known"
    await running.put("kiosk")
    assert (await running.ask("kiosk")).outcome == "answered", "another tenant's artefacts are current"


@pytest.mark.usefixtures("standing")
async def test_a_site_at_local_only_answers_and_does_not_plan_to_ask_the_hub(running: Running) -> None:
    await running.put("stale")
    age(running.settings, 2, "local-only")
    found = await running.ask("stale")
    assert found.outcome == "answered"
    assert found.receipt.plan is not None
    assert not found.receipt.plan.may_escalate
    assert "out of date (local-only)" in found.receipt.plan.reason
    assert [(made.stage, made.level) for made in found.receipt.degradations if made.level == "edge_only"] == [
        ("standing", "edge_only")
    ]
