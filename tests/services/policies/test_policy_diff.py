"""What past answers another policy would change: from what a site has stored, with nothing written anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from nats.aio.client import Client

from tests.support.nats_fleet import STAGES, client_of, linked, until
from tests.support.policy_files import WHITE_PAPER, policy, ports
from tests.support.small_pack import pack_at
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.jetstream.history import last_message
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import Answer, Check, Citation, Degradation, Drafted, Plan, Question, Verified, encode, subjects
from tidegate.services.cli.policy import policy as policy_command
from tidegate.services.cli.policy_diff import describe_diff, replay
from tidegate.services.cli.progress import LineProgress
from tidegate.services.policies.policy import Policy
from tidegate.services.policies.replay import DiffCounter, PolicyDiff, replace_policies
from tidegate.services.stages.policy.handler import judge, withhold

pytestmark = pytest.mark.anyio

PLAN = Plan(where="edge", may_escalate=False, k=8, model="reader", shares_ms={}, config_version="t", reason="a test")
TEXTS = ("We open at ten.", "A card costs 5 euros.", "This will double your savings.")


def answered(rid: str, text: str, kind: type[Drafted] | type[Verified] = Drafted, **more: Any) -> Drafted | Verified:
    cited = Citation(document_id="d", document_version="v", start=0, end=len(text), quote=text)
    answer = Answer(text=text, citations=(cited,), checks=(Check("entailment", True, 0.9),), confidence=0.9)
    question = Question(text=f"What of {rid}?", language="en", intent="cards", intent_confidence=0.9)
    whose: dict[str, Any] = {"tenant": "kiosk", "site": "site1", "asked_at_ms": 1, "deadline_at_ms": 2, **more}
    return kind(rid=rid, question=question, plan=PLAN, answer=answer, **whose)


@pytest.fixture
async def nc(tmp_path: Path) -> AsyncIterator[Client]:
    async with Server("site1", tmp_path / "server") as server, client_of(server) as client:
        await declare_site(client, "site1", STAGES)
        yield client


async def store(nc: Client, fact: Any) -> None:
    subject = subjects.subject_of(fact, "site1")
    await nc.jetstream().publish(subject, encode(fact), headers={"Nats-Msg-Id": f"{subject}{type(fact).__name__}"})


async def record(nc: Client, fact: Drafted | Verified, rules: Policy) -> None:
    """What the site stores of a judgement: what the stage read, and what it left behind."""
    await store(nc, fact)
    [settled] = await judge(fact, ports(rules))
    await store(nc, settled)


async def diff(nc: Client, *policies: Policy, most: int = 10, tenant: str = "*", since_s: float = 0.0) -> PolicyDiff:
    counter = DiffCounter({"kiosk": policies}, lambda _: (), most)
    await replay(nc, counter, tenant, since_s, LineProgress())
    return counter.result()


async def test_the_answers_that_would_change_are_listed_with_the_rules_that_act(nc: Client, tmp_path: Path) -> None:
    old = policy(tmp_path, WHITE_PAPER, "old.yaml")
    for number, text in enumerate(TEXTS):
        await record(nc, answered(f"r{number}", text), old)
    before = await states(nc)
    assert await diff(nc, old) == PolicyDiff(judged=3, changed=0, verbs={}, skipped={}, changes=())

    cost = WHITE_PAPER + "obligations: [{name: note, notice: {en: Ask us.}, when: \"text.contains('euros')\"}]\n"
    found = await diff(
        nc, policy(tmp_path, cost.replace("- speculative_financial_promises", "[]").replace("block:\n  []", ""))
    )
    assert (found.judged, found.changed, found.verbs) == (3, 2, {"allow > allow": 1, "block > allow": 1})
    noted, freed = found.changes
    assert (noted.rid, noted.becomes.notices, noted.rules) == ("r1", ("Ask us.",), ("safe-answers-v3/note",))
    assert (freed.rid, freed.rules) == ("r2", ("safe-answers-v3/speculative_financial_promises",))
    text = describe_diff(found)
    assert "r2  block > allow  'What of r2?'" in text
    assert "speculative_financial_promises: does not act any more" in text
    assert "2 of 3 past answers would change: allow > allow 1, block > allow 1" in text
    assert await states(nc) == before, "the site is as it was"


async def states(nc: Client) -> dict[str, tuple[int, int]]:
    """Of each stream how many messages and consumers it has."""
    found = await nc.jetstream().streams_info()
    return {each.config.name or "": (each.state.messages, each.state.consumer_count) for each in found}


async def test_the_cloud_s_answers_are_judged_anew_whichever_way_they_came(tmp_path: Path) -> None:
    old = policy(tmp_path, WHITE_PAPER, "old.yaml")
    async with linked(tmp_path / "fleet", ["site1"]) as fleet:
        nc, verified = fleet.sites["site1"], answered("r2", TEXTS[0], Verified)
        await record(nc, answered("r1", TEXTS[0], Verified), old)
        subject = subjects.verdicts_of("site1", "kiosk.r2")
        await fleet.hub.jetstream().publish(subject, encode(verified), headers={"Nats-Msg-Id": subject})

        async def is_mirrored() -> bool:
            return await last_message(nc, subjects.VERDICTS, subject) is not None

        await until(is_mirrored)
        [settled] = await judge(verified, ports(old))
        await store(nc, settled)
        found = await diff(nc, policy(tmp_path, WHITE_PAPER + "residency: site\n"))
    assert [(each.rid, each.becomes.verb) for each in found.changes] == [("r1", "block"), ("r2", "block")]


async def test_what_no_policy_decided_is_counted_and_not_judged_anew(nc: Client, tmp_path: Path) -> None:
    old = policy(tmp_path, WHITE_PAPER, "old.yaml")
    late = (Degradation("policy", "abstain", 0.0, 1.0),)
    await record(nc, msgspec.structs.replace(answered("r1", TEXTS[0]), degradations=late), old)
    [gone] = await judge(answered("r2", TEXTS[0]), ports(old))
    await store(nc, gone)
    await record(nc, answered("r3", TEXTS[0], tenant="bank"), old)
    unsafe = withhold(answered("r4", TEXTS[0]), "unsafe")
    await store(nc, msgspec.structs.replace(unsafe, stage="prefilter"))
    await nc.jetstream().publish("pipe.kiosk.approved.r5", b"\xff")
    found = await diff(nc, old)
    assert (found.judged, found.changed) == (0, 0)
    assert found.skipped == {
        "withheld for another reason: deadline": 1,
        "what was judged is gone, by age": 1,
        "of a tenant that is not declared: bank": 1,
        "withheld by the prefilter": 1,
        "of another version": 1,
    }
    assert "1 not judged anew: withheld by the prefilter" in describe_diff(found)


async def test_memory_holds_a_page_and_the_changes_that_were_asked_for(nc: Client, tmp_path: Path) -> None:
    old, new = policy(tmp_path, WHITE_PAPER, "old.yaml"), policy(tmp_path, "policy_id: q\nlanguages: [de]\n")
    for number in range(300):
        await record(nc, answered(f"r{number}", TEXTS[0]), old)
    found = await diff(nc, new, most=5)
    assert (found.judged, found.changed, len(found.changes)) == (300, 300, 5)
    assert "... and 295 more (--limit)" in describe_diff(found)
    assert (await diff(nc, new, since_s=4e9)).judged == 0
    assert (await diff(nc, new, tenant="bank")).judged == 0


def test_a_policy_takes_the_place_of_its_namesake(tmp_path: Path) -> None:
    one, two, other = (
        policy(tmp_path, f"policy_id: {name}\nallow: [grounded_claims]\n{more}")
        for name, more in (("a", ""), ("a", "languages: [en]\n"), ("b", ""))
    )
    assert replace_policies([one, other], [two]) == (other, two)
    assert replace_policies([one], [other]) == (one, other)


async def test_the_command_asks_the_site_that_is_up_under_the_policies_of_its_pack(
    nc: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = pack_at(tmp_path)
    safe, new = pack / "policies" / "safe.yaml", tmp_path / "new.yaml"
    for number, text in enumerate(TEXTS):
        await record(nc, answered(f"r{number}", text), policy(safe.parent, safe.read_text(), safe.name))
    new.write_text("policy_id: p2\nblock: [speculative_financial_promises]\n")
    monkeypatch.setenv("TIDEGATE_NATS__URL", f"nats://{nc.connected_url.netloc}" if nc.connected_url else "")
    monkeypatch.setenv("TIDEGATE_PACK_DIR", str(pack))
    monkeypatch.setenv("TIDEGATE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TIDEGATE_TENANTS", "kiosk")

    async def run(*arguments: str) -> Result:
        given = ["diff", str(new), "--site", "site1", *arguments]
        return await asyncio.to_thread(CliRunner().invoke, policy_command, given, standalone_mode=False)

    ran = await run("--json", "--exit-code")
    assert ran.return_value == 1, ran.output
    found = msgspec.json.decode(ran.stdout, type=PolicyDiff)
    assert [(each.rid, each.rules) for each in found.changes] == [("r2", ("p2/speculative_financial_promises",))]
    assert "1 of 3 past answers would change: allow > block 1" in (await run()).stdout
    alone = await run("--only")
    assert (alone.return_value, "1 of 3" in alone.stdout) == (0, True)
    new.write_text(safe.read_text().replace("0.8", "0.95"))
    assert "3 of 3 past answers would change: allow > abstain 3" in (await run()).stdout
    assert "0 of 0" in (await run("--since", "2100-01-01")).stdout
