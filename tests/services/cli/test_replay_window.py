"""A window of a site's record is decided again: what is in it, what differs, and what another policy would change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from nats.aio.client import Client

from tests.support.message_parts import RECEIPT
from tests.support.nats_fleet import STAGES, client_of
from tests.support.policy_files import WHITE_PAPER, policy, ports
from tests.support.small_pack import pack_at
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.jetstream.history import PAGE
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import (
    Answer,
    Approved,
    Check,
    Citation,
    Drafted,
    Fact,
    Plan,
    Question,
    encode,
    replace,
    subjects,
)
from tidegate.services.cli.progress import LineProgress
from tidegate.services.cli.replay import replay_command
from tidegate.services.cli.replay_window import describe_window, replay_window
from tidegate.services.evidence.replay import Deciders
from tidegate.services.evidence.window import WindowCounter, WindowReport
from tidegate.services.packs.active import PackInForce
from tidegate.services.packs.generations import GenerationRecord, GenerationStore
from tidegate.services.policies.policy import Policy
from tidegate.services.policies.replay import DiffCounter
from tidegate.services.stages.policy import JudgingRules
from tidegate.services.stages.policy.handler import judge
from tidegate.services.stages.publisher.handler import publish_approved, publish_refusal

pytestmark = pytest.mark.anyio
PLAN = Plan(where="edge", may_escalate=False, k=8, model="reader", shares_ms={}, config_version="t", reason="a test")
TEXTS = ("We open at ten.", "A card costs 5 euros.", "This will double your savings.")


@pytest.fixture
async def nc(tmp_path: Path) -> AsyncIterator[Client]:
    async with Server("site1", tmp_path / "server") as server, client_of(server) as client:
        await declare_site(client, "site1", STAGES)
        yield client


def drafted(rid: str, text: str, **more: Any) -> Drafted:
    cited = Citation(document_id="d", document_version="v", start=0, end=len(text), quote=text)
    answer = Answer(text=text, citations=(cited,), checks=(Check("entailment", True, 0.9),), confidence=0.9)
    question = Question(text=f"What of {rid}?", language="en", intent="cards", intent_confidence=0.9)
    whose: dict[str, Any] = {"tenant": "kiosk", "site": "site1", "asked_at_ms": 1, "deadline_at_ms": 2, **more}
    return Drafted(rid=rid, question=question, plan=PLAN, answer=answer, **whose)


async def record(nc: Client, given: Drafted, rules: Policy, **changed: Any) -> None:
    """What a site stores of a request; `changed` is what somebody made of the decision since."""
    [settled] = await judge(given, ports(rules))
    settled = replace(settled, **changed)
    receipt = replace(RECEIPT, decisions=settled.decisions, route=settled.route)
    published = (
        publish_approved(settled, receipt) if isinstance(settled, Approved) else publish_refusal(settled, receipt)
    )
    facts: tuple[Fact, ...] = (given, settled, published)
    for fact in facts:
        subject = subjects.subject_of(fact, "site1")
        await nc.jetstream().publish(subject, encode(fact), headers={"Nats-Msg-Id": subject})


async def window(
    nc: Client, rules: Policy, times: tuple[float, float], diff: DiffCounter | None = None, tenant: str = "*"
) -> WindowReport:
    async def load(_: str, __: int) -> JudgingRules:
        return JudgingRules((rules,), lambda _: ())

    counter = WindowCounter(*times, 10, diff)
    return await replay_window(counter, tenant, Deciders(load), LineProgress(), "site1", nc)


async def states(nc: Client) -> dict[str, tuple[int, int]]:
    """Of each stream how many messages and consumers it has."""
    found = await nc.jetstream().streams_info()
    return {each.config.name or "": (each.state.messages, each.state.consumer_count) for each in found}


async def test_only_what_was_answered_in_the_window_is_decided_again_and_nothing_is_stored(
    nc: Client, tmp_path: Path
) -> None:
    own, times = policy(tmp_path), [time.time()]
    for number, text in enumerate(TEXTS):
        await record(nc, drafted(f"r{number}", text), own)
        await asyncio.sleep(0.05)
        times.append(time.time())
    before = await states(nc)
    whole = await window(nc, own, (times[0], times[3]))
    assert (whole.requests, whole.identical, whole.differs, whole.not_derived) == (3, 3, 0, 0)
    for begin in range(3):
        one = await window(nc, own, (times[begin], times[begin + 1]))
        assert (one.requests, one.identical) == (1, 1)
    assert (await window(nc, own, (times[3], times[3] + 60))).requests == 0
    assert (await window(nc, own, (times[0], times[3]), tenant="bank")).requests == 0
    assert await states(nc) == before, "the site is as it was"


async def test_what_differs_what_is_gone_and_what_another_policy_would_change_are_told_apart(
    nc: Client, tmp_path: Path
) -> None:
    own = policy(tmp_path)
    for number, text in enumerate(TEXTS):
        await record(nc, drafted(f"r{number}", text), own)
    await record(nc, drafted("r3", TEXTS[0]), own, notices=("Nobody said so.\x1b[2J",))
    await nc.jetstream().purge_stream(subjects.PIPE, subject="pipe.kiosk.drafted.r1")
    await nc.jetstream().publish("pipe.kiosk.drafted.r2", b"\xff")
    stricter = policy(tmp_path, WHITE_PAPER.replace("0.85", "0.95"), "stricter.yaml")
    diff = DiffCounter({"kiosk": (stricter,)}, lambda _: (), 10)
    report = await window(nc, own, (0.0, time.time() + 1), diff)
    assert (report.requests, report.identical, report.differs, report.not_derived) == (4, 1, 1, 2)
    [found] = report.outcomes
    assert (found.rid, found.difference[:8]) == ("r3", "notices:")
    assert report.diff is not None
    assert [(each.rid, each.was.verb, each.becomes.verb) for each in report.diff.changes] == [
        ("r0", "allow", "abstain"),
        ("r3", "allow", "abstain"),
    ]
    text = describe_window(report)
    assert "\x1b" not in text
    assert "by the other policy: 2 of 2 past answers would change: allow > abstain 2" in text
    assert "1 identical, 1 differs, 2 not derived" in text.splitlines()[-1]


async def test_a_window_of_more_than_one_page_is_read_whole_and_in_order(nc: Client, tmp_path: Path) -> None:
    own, many = policy(tmp_path), PAGE + 3
    await asyncio.gather(*(record(nc, drafted(f"r{number}", TEXTS[0]), own) for number in range(many)))
    report = await window(nc, own, (0.0, time.time() + 1))
    assert (report.requests, report.identical) == (many, many)


def keep_generations(state: Path, *texts: str) -> None:
    """Generations of which each has another epoch of the policy `safe`, as a site holds them."""
    store = GenerationStore(state / "site1" / "active" / "kiosk")
    for number, text in enumerate(texts, 1):
        folder = store.path(number) / "policies"
        folder.mkdir(parents=True)
        (folder / "safe.yaml").write_text(text)
        made = GenerationRecord(number=number, digest="d", epochs={"policy/safe": 10 + number}, made_at_ms=1)
        (store.path(number) / "generation.json").write_bytes(msgspec.json.encode(made))
        store.pointer.write_text(str(number))


async def test_the_command_decides_a_window_by_an_epoch_of_a_policy_that_is_held(
    nc: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack, state = pack_at(tmp_path), tmp_path / "state"
    safe = (pack / "policies" / "safe.yaml").read_text()
    stricter = safe.replace("0.8", "0.95")
    keep_generations(state, stricter, safe)
    held = GenerationStore(state / "site1" / "active" / "kiosk")
    [in_force] = PackInForce.of_generation("kiosk", held.path(2), held.record(2)).policies
    for number, text in enumerate(TEXTS):
        await record(nc, drafted(f"r{number}", text, generation=2), in_force)
    monkeypatch.setenv("TIDEGATE_NATS__URL", f"nats://{nc.connected_url.netloc}" if nc.connected_url else "")
    monkeypatch.setenv("TIDEGATE_PACK_DIR", str(pack))
    monkeypatch.setenv("TIDEGATE_STATE_DIR", str(state))
    monkeypatch.setenv("TIDEGATE_TENANTS", "kiosk")

    async def run(*arguments: str) -> Result:
        given = ["--site", "site1", "--from", "1h", *arguments]
        return await asyncio.to_thread(CliRunner().invoke, replay_command, given, standalone_mode=False)

    plain = await run()
    assert plain.return_value == 0, plain.output
    assert plain.stdout.splitlines()[-1].endswith("3 identical, 0 differs, 0 not derived")
    ran = await run("--with", "safe@11", "--json", "--no-screening")
    report = msgspec.json.decode(ran.stdout, type=WindowReport)
    assert report.diff is not None
    assert (report.identical, report.diff.changed, report.diff.verbs) == (3, 3, {"allow > abstain": 3})
    assert "0 of 3 past answers would change" in (await run("--with", "safe@12")).stdout
    stricter_file = tmp_path / "stricter.yaml"
    stricter_file.write_text(stricter)
    assert "3 of 3 past answers would change" in (await run("--with", str(stricter_file))).stdout
    gone = await run("--with", "safe@9")
    assert "no generation of kiosk that is held here has safe@9" in str(gone.exception)
    later = await run("--to", "30m")
    assert later.stdout.splitlines()[-1].startswith("0 answers")
