"""The site's verifier holds a draft against what was found beside it and against the policies, in the time there is."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.services.stages.test_drafter import WEATHER, decide
from tests.support.escalation_site import plan, retrieved
from tests.support.policy_files import judge_here, policy
from tidegate.schemas import Answer, Approved, Check, Citation, Drafted, Escalated, Passage, Published, Retrieved
from tidegate.services.stages.drafter.verifying import DraftVerifier
from tidegate.services.stages.publisher.handler import PublisherPorts, publish

pytestmark = pytest.mark.anyio
NOW_S = 1_000.0
FEE, OTHER = "The monthly fee of the account is 5 euros.", "The monthly fee of the account is 7 euros."
CONDITIONED = "policy_id: p\nallow: [grounded_claims]\nblock:\n  - {name: loans, when: class == 'loan'}\n"
PASSES = (Check("grounding", True, 1.0), Check("entailment", True, 1.0))


def passage(text: str, document: str) -> Passage:
    common = {"document_version": "v", "title": "Fees", "language": "en", "start": 0, "score": 1.0}
    return Passage(document_id=document, text=text, end=len(text), **common)  # type: ignore[arg-type]


def asked(*texts: str, intent: str = "fees", left_ms: float = 4000.0) -> Retrieved:
    found = retrieved("q", intent=intent)
    passages = tuple(passage(text, f"d{n}") for n, text in enumerate(texts))
    return msgspec.structs.replace(found, passages=passages, deadline_at_ms=int(NOW_S * 1000 + left_ms))


def answer(text: str = FEE) -> Answer:
    cited = Citation(document_id="d0", document_version="v", start=0, end=len(text), quote=text)
    return Answer(text=text, citations=(cited,), checks=PASSES, confidence=0.9)


@pytest.mark.parametrize(
    ("given", "failed", "scores"),
    [
        (asked(FEE), "", {"grounding": 1.0, "entailment": 1.0, "policy": 1.0}),
        (asked(FEE, FEE), "", {"grounding": 1.0, "entailment": 1.0, "policy": 1.0}),
        (asked(FEE, OTHER), "entailment", {"grounding": 1.0, "entailment": 0.0, "policy": 1.0}),
        (asked(FEE, intent="loan"), "policy", {"grounding": 1.0, "entailment": 1.0, "policy": 0.0}),
    ],
)
async def test_a_draft_fails_by_name(tmp_path: Path, given: Retrieved, failed: str, scores: dict[str, float]) -> None:
    verifier = DraftVerifier(lambda: NOW_S)
    found, code = await verifier.verify((policy(tmp_path, CONDITIONED),), given, answer())
    assert code == failed
    assert {each.name: each.score for each in found.checks} == scores
    assert all(each.passed is (each.name != failed) for each in found.checks)


async def test_without_time_nothing_is_begun_and_the_receipt_says_so(tmp_path: Path) -> None:
    verifier = DraftVerifier(lambda: NOW_S)
    given = asked(FEE, OTHER, left_ms=0.0)
    found, code = await verifier.verify((policy(tmp_path, CONDITIONED),), given, answer())
    assert (code, found.checks) == ("", PASSES)
    assert sorted(found.not_run) == ["entailment", "policy"]
    approved = given.followed_by(Approved, question=given.question, plan=given.plan, route="edge", answer=found)

    async def unasked(_: Published) -> None:
        raise AssertionError("nothing was shown")

    [published] = await publish(approved, PublisherPorts(unasked, unasked, lambda _: None), ())  # type: ignore[arg-type]
    assert isinstance(published, Published)
    assert published.receipt.checks_not_run == found.not_run


@pytest.mark.parametrize(("text", "code"), [("When do you open?", ""), ("How many tablets may I take?", "entailment")])
async def test_a_question_of_high_risk_is_not_left_unverified_for_want_of_time(
    tmp_path: Path, text: str, code: str
) -> None:
    given = asked(FEE, left_ms=0.0)
    given = msgspec.structs.replace(given, question=msgspec.structs.replace(given.question, text=text))
    verifier = DraftVerifier(lambda: NOW_S)
    assert (await verifier.verify((policy(tmp_path, CONDITIONED),), given, answer()))[1] == code


async def test_a_policy_can_refuse_what_was_not_verified(tmp_path: Path) -> None:
    rule = "policy_id: p\nblock:\n  - {name: unverified, when: \"'entailment' in checks_not_run\"}\n"
    given = asked(FEE)
    for not_run, refusal in (((), ""), (("entailment",), "policy_block")):
        judged = msgspec.structs.replace(answer(), not_run=not_run)
        assert judge_here(given.question, judged, (policy(tmp_path, rule),)).refusal == refusal


@pytest.mark.parametrize("failing", ["entailment", "policy"])
@pytest.mark.parametrize(
    ("confidence", "fact", "reason"),
    [
        (0.9, retrieved("q"), "failing"),
        (0.3, retrieved("q"), "low_confidence"),
        (0.9, retrieved("q", plan_=plan(where="cloud")), "planned"),
        (0.9, retrieved("q", plan_=plan(may_escalate=False)), ""),
        (0.9, retrieved("q", **WEATHER), ""),
    ],
)
async def test_a_draft_that_fails_the_verifier_is_escalated_with_the_code_or_left_to_the_policy_with_the_check(
    confidence: float, fact: Retrieved, reason: str, failing: str
) -> None:
    verified: list[Answer] = []
    outcome = await decide(confidence, fact, failing=failing, verified=verified)
    assert len(verified) == (reason in ("", "failing")), "what is not the edge's to answer is not verified here"
    if reason:
        assert isinstance(outcome, Escalated)
        assert outcome.reason == (failing if reason == "failing" else reason)
    else:
        assert isinstance(outcome, Drafted)
        assert outcome.answer.checks == (Check(failing, False, 0.0),)
