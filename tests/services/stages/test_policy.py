"""Policy: nothing passes but what every policy in force lets pass; what stopped an answer is on record."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.policy_files import WHITE_PAPER, open_stage, policy, ports
from tidegate.schemas import (
    Answer,
    Approved,
    Artefact,
    Check,
    Citation,
    Drafted,
    Plan,
    Question,
    Speculation,
    Verified,
    Withheld,
)
from tidegate.schemas.refusal_texts import refusal_text
from tidegate.services.policies.node_reader import PolicyError
from tidegate.services.policies.policy import Policy
from tidegate.services.policies.redaction import redact_pii
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.privacy.dlp.finding import Finding
from tidegate.services.stages.policy.handler import judge

pytestmark = pytest.mark.anyio

QUOTE = "A lost card is blocked at once. Call us on 020 7946 0958."
PLAN = Plan(where="edge", may_escalate=False, k=8, model="reader", shares_ms={}, config_version="t", reason="a test")
FIND = Detector(("GB", "DE", "FR", "ES", "US")).find
VOUCHED = (Check("grounding", True, 1.0), Check("entailment", True, 1.0))


def cited(quote: str) -> Citation:
    fields = {"document_id": "cards", "document_version": "v", "start": 0, "end": len(quote), "quote": quote}
    return msgspec.convert({**fields, "is_public_contact": True}, Citation)


def answer(
    text: str = "A lost card is blocked at once.",
    quotes: tuple[str, ...] = (QUOTE,),
    checks: tuple[Check, ...] = VOUCHED,
    confidence: float = 0.9,
) -> Answer:
    return Answer(text=text, citations=tuple(map(cited, quotes)), checks=checks, confidence=confidence)


def drafted(given: Answer, language: str = "en", kind: type[Drafted] | type[Verified] = Drafted) -> Drafted | Verified:
    question = Question(text="What if I lose my card?", language=language, intent="cards", intent_confidence=0.9)
    return kind(
        rid="r1",
        tenant="kiosk",
        site="site1",
        asked_at_ms=1,
        deadline_at_ms=2,
        question=question,
        plan=PLAN,
        answer=given,
    )


async def judged(given: Answer, *policies: Policy, language: str = "en") -> Approved | Withheld:
    [settled] = await judge(drafted(given, language), ports(*policies, find_personal=FIND))
    return settled


async def test_a_grounded_answer_passes_word_for_word_and_the_policy_is_in_its_lineage(tmp_path: Path) -> None:
    rules = policy(tmp_path)
    approved = await judged(answer(), rules)
    assert isinstance(approved, Approved)
    assert approved.answer == answer()
    assert approved.lineage == (Artefact("policy", "safe-answers-v3", rules.version),)
    assert [(d.rule, d.verb) for d in approved.decisions] == [("safe-answers-v3/grounded_claims", "allow")]


@pytest.mark.parametrize(("kind", "route"), [(Drafted, "edge"), (Verified, "cloud")])
async def test_the_route_is_where_the_answer_was_made(
    tmp_path: Path, kind: type[Drafted] | type[Verified], route: str
) -> None:
    for made in (answer(), answer(text="")):
        [settled] = await judge(drafted(made, kind=kind), ports(policy(tmp_path), find_personal=FIND))
        assert settled.route == route


async def test_what_an_answer_took_is_not_lost_where_it_may_not_be_said(tmp_path: Path) -> None:
    spent = Speculation(steps=9, tokens=30, draft_bytes=300, model="target@1")
    settled = await judged(msgspec.structs.replace(answer(text=""), speculation=spent), policy(tmp_path))
    assert isinstance(settled, Withheld)
    assert settled.speculation == spent


FAILED = (Check("grounding", False, 0.5), Check("entailment", True, 1.0))
UNSURE = (Check("grounding", True, 1.0), Check("entailment", True, 0.84))
AS_SURE = (Check("grounding", True, 1.0), Check("entailment", True, 0.85))
SCHEMA, BROKEN = Check("schema", True, 1.0), Check("schema", False, 0.0)


@pytest.mark.parametrize(
    ("given", "stopped_by"),
    [
        (answer(), ""),
        (answer(text="a LOST card\nis blocked, at once!"), ""),
        (answer(quotes=("A lost card", "is blocked at once")), ""),
        (answer(text="We stop the card for you."), ""),
        (answer(text="We stop the card for you.", checks=(Check("entailment", True, 1.0),)), "grounded_claims"),
        (answer(text="We stop <IBAN_0123456789ab>'s card."), ""),
        (answer(text="A lost card is blocked <IBAN_0123456789ab> at once.", checks=VOUCHED[1:]), ""),
        (answer(checks=AS_SURE), ""),
        (answer(checks=UNSURE), "entailment"),
        (answer(checks=(Check("grounding", True, 1.0),)), "entailment"),
        (answer(checks=FAILED), "grounded_claims"),
        (answer(quotes=()), "grounded_claims"),
        (answer(text=""), "answer"),
        (answer(text=" \n"), "answer"),
        (Answer(text='{"a": 1}', format="json", checks=(SCHEMA,)), ""),
        (Answer(text='{"a": 1}', format="json", checks=(BROKEN,)), "grounded_claims"),
        (Answer(text='{"a": 1}', format="json"), "grounded_claims"),
        (Answer(text='{"a": 1}', format="json", checks=(SCHEMA, Check("entailment", False, 0.1))), "entailment"),
    ],
)
async def test_what_nothing_vouches_for_is_abstained_from(tmp_path: Path, given: Answer, stopped_by: str) -> None:
    settled = await judged(given, policy(tmp_path))
    if not stopped_by:
        assert isinstance(settled, Approved)
    else:
        assert isinstance(settled, Withheld)
        assert settled.reason == "abstained"
        assert [d.rule.split("/")[-1] for d in settled.decisions if d.verb == "abstain"] == [stopped_by]


@pytest.mark.parametrize(("confidence", "passes"), [(0.7, True), (0.69, False)])
async def test_a_confidence_threshold_looks_at_the_answer_s_own_confidence(
    tmp_path: Path, confidence: float, passes: bool
) -> None:
    rules = policy(tmp_path, "policy_id: sure\nabstain_thresholds: {confidence: 0.7}\n")
    assert isinstance(await judged(answer(confidence=confidence), rules), Approved) is passes


@pytest.mark.parametrize(
    ("classes", "passes"),
    [
        ("{fees: {confidence: 0.8}}", True),
        ("{cards: {confidence: 0.8}}", False),
        ("{cards: {confidence: 0.5}, assist: {confidence: 0.8}}", False),
        ("{assist: {confidence: 0.8}}", False),
        ("{cards: {confidence: 0.5}}", True),
        ("{cards: {entailment: 0.5}}", True),
    ],
)
async def test_a_class_may_have_a_threshold_of_its_own(tmp_path: Path, classes: str, passes: bool) -> None:
    rules = policy(tmp_path, f"policy_id: p\nabstain_thresholds: {{confidence: 0.7}}\nclass_thresholds: {classes}\n")
    assert isinstance(await judged(answer(confidence=0.75), rules), Approved) is passes


async def test_the_threshold_of_a_class_stands_in_place_of_the_general_one(tmp_path: Path) -> None:
    for name, passes in (("cards", True), ("fees", False)):
        own = f"class_thresholds: {{{name}: {{confidence: 0.5}}}}\n"
        rules = policy(tmp_path, f"policy_id: p\nabstain_thresholds: {{confidence: 0.7}}\n{own}")
        assert isinstance(await judged(answer(confidence=0.6), rules), Approved) is passes


@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "xx"])
@pytest.mark.parametrize(
    ("given", "reason"),
    [(answer(text=""), "abstained"), (answer(text="We guarantee you a 9.5% return."), "policy_block")],
)
async def test_a_refusal_is_in_the_language_of_the_question(
    tmp_path: Path, given: Answer, reason: str, language: str
) -> None:
    settled = await judged(given, policy(tmp_path), language=language)
    assert isinstance(settled, Withheld)
    assert (settled.reason, settled.text, settled.language) == (reason, refusal_text(reason, language), language)
    assert (settled.stage, settled.plan) == ("policy", PLAN)
    assert settled.decisions


async def test_without_any_policy_nothing_passes() -> None:
    settled = await judged(answer())
    assert isinstance(settled, Withheld)
    assert settled.reason == "policy_block"


async def test_all_policies_hold_together(tmp_path: Path) -> None:
    lenient = policy(tmp_path, "policy_id: lenient\nabstain_thresholds: {confidence: 0.1}\n", "a.yaml")
    strict = policy(tmp_path, "policy_id: strict\nabstain_thresholds: {confidence: 0.95}\n", "b.yaml")
    assert isinstance(await judged(answer(), lenient), Approved)
    for order in ((lenient, strict), (strict, lenient)):
        settled = await judged(answer(), *order)
        assert isinstance(settled, Withheld)
        assert [d.rule for d in settled.decisions] == ["strict/confidence"]
        assert {part.id for part in settled.lineage} == {"lenient", "strict"}


async def test_a_block_weighs_more_than_an_abstention(tmp_path: Path) -> None:
    settled = await judged(answer(text="Guaranteed profit for all!", quotes=(), checks=()), policy(tmp_path))
    assert isinstance(settled, Withheld)
    assert settled.reason == "policy_block"


REDACTIONS = [
    ("Write to jane.doe@example.org now.", (), "Write to [redacted] now."),
    ("Call us on 020 7946 0958.", (QUOTE,), "Call us on 020 7946 0958."),
    ("Write to <EMAIL_3f9c2a71b04d> now.", (), "Write to <EMAIL_3f9c2a71b04d> now."),
    ("a@example.org or b@example.org", ("Write to a@example.org",), "a@example.org or [redacted]"),
]


@pytest.mark.parametrize(("text", "quotes", "after"), REDACTIONS)
async def test_personal_values_are_struck_out_unless_they_are_cited_or_tokens(
    tmp_path: Path, text: str, quotes: tuple[str, ...], after: str
) -> None:
    rules = policy(tmp_path, "policy_id: pii\ntransform: [redact_pii]\n")
    settled = await judged(answer(text=text, quotes=quotes), rules)
    assert isinstance(settled, Approved)
    assert settled.answer.text == after
    assert [d.verb for d in settled.decisions] == (["transform"] if after != text else [])
    assert all("@" not in d.reason for d in settled.decisions)


async def test_what_a_document_says_of_persons_is_struck_out_unless_it_is_public_contact(tmp_path: Path) -> None:
    rules = policy(tmp_path, "policy_id: pii\ntransform: [redact_pii]\n")
    private = msgspec.structs.replace(cited(QUOTE), is_public_contact=False)
    for text, changed in (("Call us on 020 7946 0958.", "Call us on [redacted]."), ("A lost card.", "A lost card.")):
        settled = await judged(
            msgspec.structs.replace(answer(text=text), citations=(private, cited("It is free."))), rules
        )
        assert isinstance(settled, Approved)
        assert settled.answer.text == changed
        assert [each.quote for each in settled.answer.citations] == [
            "A lost card is blocked at once. Call us on [redacted].",
            "It is free.",
        ]
        assert [each.reason for each in settled.decisions] == ["1 personal value(s) redacted"]


async def test_json_stays_json_when_something_is_struck_out(tmp_path: Path) -> None:
    rules = policy(tmp_path, "policy_id: pii\ntransform: [redact_pii]\n")
    plain = {"n": 2, "ok": True, "x": None, "": "<IBAN_0123456789ab>"}
    raw = {"mail": ["jane.doe@example.org"], "card": 4111111111111111, "account number": "31926819", **plain}
    settled = await judged(Answer(text=json.dumps(raw), format="json"), rules)
    assert isinstance(settled, Approved)
    after = {"mail": ["[redacted]"], "card": "[redacted]", "account number": "[redacted]", **plain}
    assert json.loads(settled.answer.text) == after


def test_a_vault_token_is_left_alone_whatever_a_detector_sees_in_it() -> None:
    text = "Write to <EMAIL_3f9c2a71b04d> now."

    def sees_digits(_: str) -> list[Finding]:
        return [Finding(kind="ACCOUNT", start=16, end=28, value=text[16:28])]

    assert redact_pii(Answer(text=text), sees_digits) == (Answer(text=text), "")


@given(st.text(max_size=80), st.sampled_from(["jane.doe@example.org", "GB82 WEST 1234 5698 7654 32"]))
@settings(derandomize=True, max_examples=50, deadline=None)
def test_a_personal_value_between_spaces_never_survives(around: str, value: str) -> None:
    text, _ = redact_pii(Answer(text=f"{around} {value} {around}"), FIND)
    assert value not in text.text


async def test_the_opened_policy_has_every_policy_of_the_pack_in_force(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    with pytest.raises(PolicyError, match="no policy is in force"):
        async with open_stage(tmp_path):
            pass
    policy(tmp_path / "policies", WHITE_PAPER, "a.yaml")
    policy(tmp_path / "policies", "policy_id: b\nabstain_thresholds: {confidence: 1}\n", "b.yml")
    async with open_stage(tmp_path) as handler:
        [settled] = await handler(drafted(answer()))
        assert isinstance(settled, Withheld)
        assert [part.id for part in settled.lineage] == ["safe-answers-v3", "b"]


async def test_an_opened_policy_abstains_from_a_draft_that_comes_too_late_and_not_from_a_verdict(
    tmp_path: Path,
) -> None:
    (tmp_path / "policies").mkdir()
    policy(tmp_path / "policies", WHITE_PAPER, "a.yaml")
    plan = msgspec.structs.replace(PLAN, shares_ms={"policy": 50.0, "publisher": 50.0})
    async with open_stage(tmp_path) as handler:
        for kind, reason in ((Drafted, "deadline"), (Verified, "")):
            late = msgspec.structs.replace(drafted(answer(), kind=kind), plan=plan)
            [settled] = await handler(late)
            assert isinstance(settled, (Approved, Withheld))
            assert getattr(settled, "reason", "") == reason
            given_up = [(made.stage, made.level) for made in settled.degradations]
            assert given_up == ([("policy", "abstain")] if reason else [])
