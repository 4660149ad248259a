"""No answer in the making is shown before the policy in force has judged it, whichever side makes it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from tests.support.paths import KIOSK
from tests.support.policy_files import policy, ports
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import Answer, Artefact, Check, Citation, Partial, Plan, Question, Where, decode, encode, subjects
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.settings import Settings
from tidegate.services.stages.policy import open as open_policy
from tidegate.services.stages.policy.handler import judge_partial
from tidegate.services.stages.policy.metrics import HoldBackMetrics, count_held

pytestmark = pytest.mark.anyio

FINE = "A lost card is blocked at once."
PROMISE = "Our fund is guaranteed to return 12% every year."
PHONE = "Call us on 020 7946 0958."
QUESTION = Question(text="What if I lose my card?", language="en", intent="cards", intent_confidence=0.9)
PLAN = Plan(where="edge", may_escalate=True, k=8, model="m", shares_ms={}, config_version="t", reason="r", mode="race")
FIND = Detector(("GB",)).find


def partial(text: str, source: Where, *, entailment: float = 1.0, grounded: bool = True, rid: str = "r1") -> Partial:
    cited = Citation(document_id="cards", document_version="v", start=0, end=len(text), quote=text)
    checks = (Check("grounding", grounded, float(grounded)), Check("entailment", entailment >= 0.5, entailment))
    answer = Answer(text=text, citations=(cited,) if grounded else (), checks=checks, confidence=0.9)
    return Partial(
        rid=rid,
        tenant="kiosk",
        site="site1",
        asked_at_ms=1,
        deadline_at_ms=2,
        source=source,
        question=QUESTION,
        plan=PLAN,
        answer=answer,
        ids=(10, 77),
    )


@pytest.mark.parametrize(
    ("unjudged", "passes"),
    [
        (partial(FINE, "edge"), True),
        (partial(FINE, "cloud"), True),
        (partial(PROMISE, "edge"), False),
        (partial(PROMISE, "cloud"), False),
        (partial(f"{FINE} {PROMISE}", "cloud"), False),
        (partial(FINE, "cloud", entailment=0.5), False),
        (partial(FINE, "edge", entailment=0.5), True),
        (partial(FINE, "cloud", grounded=False), False),
        (partial(FINE, "edge", grounded=False), False),
        (partial("  ", "edge"), False),
    ],
)
async def test_only_a_threshold_is_waived_and_only_for_what_can_be_taken_back(
    tmp_path: Path, unjudged: Partial, passes: bool
) -> None:
    rules = policy(tmp_path)
    shown = await judge_partial(unjudged, ports(rules, find_personal=FIND))
    judged_by = (Artefact("policy", "safe-answers-v3", rules.version),)
    assert shown == (msgspec.structs.replace(unjudged, lineage=judged_by) if passes else None)


@pytest.mark.parametrize("source", ["edge", "cloud"])
async def test_what_is_shown_is_struck_out_as_in_an_answer_and_keeps_no_token_of_it(
    tmp_path: Path, source: Where
) -> None:
    unjudged = partial(FINE, source)  # what a citation holds is published already, and stays
    unjudged = msgspec.structs.replace(
        unjudged, answer=msgspec.structs.replace(unjudged.answer, text=f"{FINE} {PHONE}")
    )
    shown = await judge_partial(unjudged, ports(policy(tmp_path), find_personal=FIND))
    assert shown is not None
    assert "7946" not in shown.answer.text
    assert shown.ids == ()


@pytest.mark.parametrize("source", ["edge", "cloud"])
async def test_what_may_become_part_of_a_value_is_held_until_the_next_sentence(tmp_path: Path, source: Where) -> None:
    own = ports(policy(tmp_path), find_personal=FIND)
    unjudged = partial(FINE, source)

    async def shown(text: str, *, is_whole: bool = False) -> str:
        answer = msgspec.structs.replace(unjudged.answer, text=text)
        passed = await judge_partial(msgspec.structs.replace(unjudged, answer=answer, is_whole=is_whole), own)
        return passed.answer.text if passed else ""

    whole = f"{FINE} Your card is 4111 1111. 1111 1111, it ends there. It is blocked."
    begun = whole[: whole.index(" 1111 1111, it")]
    assert await shown(begun) == f"{FINE} "
    assert await shown(whole) == f"{FINE} Your card is [redacted], it ends there. It is blocked."
    assert await shown(begun, is_whole=True) == begun
    assert await shown("Call 4111") == "", "words behind it may make a number of it, as far as its sentence goes"
    assert await shown("4111") == ""
    assert await shown(FINE) == FINE


async def test_without_a_policy_nothing_is_shown() -> None:
    assert await judge_partial(partial(FINE, "edge"), ports()) is None


async def test_the_opened_policy_stands_between_both_sides_and_the_publisher() -> None:
    bus = MemoryBus("site1")
    passed: asyncio.Queue[Partial] = asyncio.Queue()

    async def hear(_: str, data: bytes) -> None:
        passed.put_nowait(decode(data, Partial))

    await bus.listen(subjects.PARTIAL_APPROVED, hear)
    pack = KIOSK
    edge, cloud = subjects.partial(False, "kiosk", "r1"), subjects.cloud_partial("site1", "kiosk", "r1")
    async with open_policy(Settings(pack_dir=str(pack)), bus):
        for subject, text, source in (
            (edge, PROMISE, "edge"),
            (edge, FINE, "edge"),
            (cloud, PROMISE, "cloud"),
            (cloud, FINE, "cloud"),
        ):
            await bus.publish_core(subject, encode(partial(text, source)))  # type: ignore[arg-type]
        heard = [await asyncio.wait_for(passed.get(), 10) for _ in range(2)]
    assert sorted((each.source, each.answer.text) for each in heard) == [("cloud", FINE), ("edge", FINE)]
    assert passed.empty()
    assert msgspec.structs.replace(heard[0], source="edge") == msgspec.structs.replace(heard[1], source="edge")


def shortened(written: Partial, characters: int) -> Partial:
    answer = msgspec.structs.replace(written.answer, text=written.answer.text[:characters])
    return msgspec.structs.replace(written, answer=answer)


@pytest.mark.parametrize(
    ("ids", "shown", "held"),
    [((), 31, 0), ((), 0, 7), ((), 23, 2), (tuple(range(10)), 31, 0), (tuple(range(10)), 15, 6), ((), 99, 0)],
)
def test_what_is_held_back_is_counted_in_tokens(ids: tuple[int, ...], shown: int, held: int) -> None:
    written = msgspec.structs.replace(partial(FINE, "cloud"), ids=ids)
    assert count_held(written, shortened(written, shown)) == held
    assert count_held(written, None) == (len(ids) or 7)


def test_what_judging_costs_a_watcher_is_measured_by_side() -> None:
    registry = CollectorRegistry()
    metrics, written = HoldBackMetrics(registry), partial(FINE, "cloud")
    metrics.observe(written, written, 0.25)
    metrics.observe(written, None, 0.5)

    def value(name: str) -> float | None:
        return registry.get_sample_value(f"tidegate_partial_{name}", {"source": "cloud"})

    assert (value("judging_seconds_sum"), value("judging_seconds_count")) == (0.75, 2)
    assert (value("held_tokens_sum"), value("stopped_total")) == (2, 1)
