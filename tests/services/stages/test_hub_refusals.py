"""A question that the hub does not take ends at its site: by whichever lane it hears of it first, and with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.escalation_site import escalated, prepared
from tests.support.hub_intakes import NOWHERE
from tests.support.intake_attacks import GOOD, SECRET, with_question
from tests.support.policy_files import WHITE_PAPER, policy
from tests.support.taking_hub import serve_lanes
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import Escalated, Verified, Withheld
from tidegate.schemas.refusal_texts import refusal_text
from tidegate.schemas.subject_claims import EscalationClaim
from tidegate.services.fleet.refusal_counts import RefusalCounts
from tidegate.services.settings import Settings
from tidegate.services.stages import fast_lane
from tidegate.services.stages.policy import open as open_policy
from tidegate.services.uplink.intake import verdict_of_refusal

pytestmark = pytest.mark.anyio
ASKED = escalated("Was kostet das?", language="de")
REFUSED = verdict_of_refusal(EscalationClaim("site1", "kiosk", "r1"), "personal_data")


async def judged(directory: Path, *stored: Escalated) -> Withheld:
    """What the policy stage of a site makes of a verdict that is none; `stored` is what the site had escalated."""
    (directory / "policies").mkdir()
    policy(directory / "policies", WHITE_PAPER, "a.yaml")
    bus = MemoryBus("site1")
    for each in stored:
        await bus.publish(each, id="e1", headers={})
    settings = Settings(pack_dir=str(directory), state_dir=str(directory / "state"))
    async with open_policy(settings, bus) as handle:
        [withheld] = await handle(REFUSED)
    assert isinstance(withheld, Withheld)
    return withheld


async def test_a_verdict_without_a_look_at_the_question_ends_it_as_the_site_had_asked_it(tmp_path: Path) -> None:
    withheld = await judged(tmp_path, ASKED)
    assert (withheld.reason, withheld.stage, withheld.route) == ("hub_refused", "policy", "cloud")
    assert (withheld.question, withheld.plan) == (ASKED.question, ASKED.plan)
    assert (withheld.asked_at_ms, withheld.deadline_at_ms) == (ASKED.asked_at_ms, ASKED.deadline_at_ms)
    assert withheld.text == refusal_text("hub_refused", "de")


async def test_where_the_site_has_its_escalation_no_more_the_request_ends_all_the_same(tmp_path: Path) -> None:
    withheld = await judged(tmp_path)
    assert (withheld.rid, withheld.reason, withheld.text) == ("r1", "hub_refused", refusal_text("hub_refused", "en"))


async def test_the_fast_lane_ends_a_question_that_the_hub_does_not_take() -> None:
    bus, calls = MemoryBus("hub"), list[Escalated]()
    await serve_lanes(bus, NOWHERE, calls, RefusalCounts())
    asked = with_question(text=f"Pay to {SECRET}", language="fr")
    async with fast_lane.open(prepared(), bus) as handle:
        [withheld] = await handle(asked)
        [answered] = await handle(GOOD)
    assert isinstance(withheld, Withheld)
    assert (withheld.reason, withheld.stage, withheld.route) == ("hub_refused", "fast-lane", "cloud")
    assert (withheld.question, withheld.language, withheld.plan) == (asked.question, "fr", asked.plan)
    assert isinstance(answered, Verified)
    assert [fact.rid for fact in calls] == ["r1"]
