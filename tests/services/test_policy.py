"""Policy: nothing passes but what every policy in force lets pass; what stopped an answer is on record."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.memory import MemoryHouse
from brokers.settings import Settings
from schemas import (
    Answer,
    Approved,
    Artefact,
    Check,
    Citation,
    Drafted,
    Plan,
    Question,
    Verified,
    Withheld,
)
from schemas.sentences import sentence
from services.dlp import Detector, Finding
from services.policy import open as open_policy
from services.policy.handler import Policy, judge
from services.policy.redaction import redact_pii
from services.policy.rules import BadPolicy, load_policies, load_policy

pytestmark = pytest.mark.anyio

WHITE_PAPER = """\
policy_id: safe-answers-v3
allow:
  - grounded_claims
transform:
  - redact_pii
block:
  - speculative_financial_promises
abstain_thresholds:
  entailment: 0.85
"""
QUOTE = "A lost card is blocked at once. Call us on 020 7946 0958."
PLAN = Plan(where="edge", may_escalate=False, k=8, model="reader", shares_ms={}, table="t", reason="a test")
FIND = Detector(("GB", "DE", "FR", "ES", "US")).find
VOUCHED = (Check("grounding", True, 1.0), Check("entailment", True, 1.0))


def policy(tmp_path: Path, text: str = WHITE_PAPER, name: str = "p.yaml") -> Policy:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return load_policy(path)


def cited(quote: str) -> Citation:
    return Citation(document_id="cards", document_version="v", start=0, end=len(quote), quote=quote)


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
    [settled] = await judge(drafted(given, language), policies=policies, find_personal=FIND)
    assert isinstance(settled, (Approved, Withheld))
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
        [settled] = await judge(drafted(made, kind=kind), policies=(policy(tmp_path),), find_personal=FIND)
        assert isinstance(settled, (Approved, Withheld))
        assert settled.route == route


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


@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "xx"])
@pytest.mark.parametrize(
    ("given", "reason"),
    [(answer(text=""), "abstained"), (answer(text="We guarantee you a 9.5% return."), "policy_block")],
)
async def test_who_gets_no_answer_is_told_so_in_their_language(
    tmp_path: Path, given: Answer, reason: str, language: str
) -> None:
    settled = await judged(given, policy(tmp_path), language=language)
    assert isinstance(settled, Withheld)
    assert (settled.reason, settled.text, settled.language) == (reason, sentence(reason, language), language)
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


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("policy_id: a\nblocks: [x]\n", 2, "blocks is not a part of a policy"),
        ("policy_id: a\nblock:\n  - speculative_financial_promises\n  - everything\n", 4, "everything is nothing"),
        ("policy_id: a\nallow: [grounded_claims]\nallow: []\n", 3, "allow is there twice"),
        ("policy_id: a\nallow: [grounded_claims, grounded_claims]\n", 2, "is there twice"),
        ("policy_id: a\nallow: &x [grounded_claims]\n", 2, "an anchor"),
        ("policy_id: a\nallow: [*x]\n", 2, "an alias"),
        ("policy_id: !!python/name:os.system a\n", 1, "a tag"),
        ("%YAML 1.1\n---\npolicy_id: a\n", 1, "a directive"),
        ("policy_id: a\nallow: [grounded_claims]\n---\npolicy_id: b\n---\na: b\n", 5, "a second document"),
        ("policy_id: a\nallow: [[[[[[x]]]]]]\n", 2, "nested too deeply"),
        ("policy_id: a\nallow: grounded_claims\n", 2, "allow is a list"),
        ("policy_id: a\nallow:\n", 2, "allow is a list"),
        ("policy_id: a\nallow: [3]\n", 2, "an item of allow is a text"),
        ("policy_id: a\nabstain_thresholds:\n  entailment: 1.2\n", 3, "not between 0 and 1"),
        ("policy_id: a\nabstain_thresholds:\n  entailment: -0.1\n", 3, "not between 0 and 1"),
        ("policy_id: a\nabstain_thresholds:\n  entailment: .nan\n", 3, "not between 0 and 1"),
        ("policy_id: a\nabstain_thresholds:\n  entailment: '0.9'\n", 3, "entailment is a number"),
        ("policy_id: a\nabstain_thresholds:\n  charm: 0.9\n", 3, "charm is no score"),
        ("policy_id: a\nabstain_thresholds:\n\n", 2, "abstain_thresholds is a mapping"),
        ("policy_id: a\nabstain_thresholds: [0.9]\n", 2, "abstain_thresholds is a mapping"),
        ("allow: [grounded_claims]\n", 1, "policy_id is missing"),
        ("policy_id: 7\n", 1, "policy_id is a text"),
        ("policy_id: A b\nallow: [grounded_claims]\n", 1, "is not a policy_id"),
        ("policy_id: a\n", 1, "says nothing"),
        ("", 1, "empty"),
        ("- a\n", 1, "a policy is a mapping"),
        ("policy_id: a\nallow: [x\nb: c\n", 3, "not YAML"),
        ("policy_id: a\n\n#\x01\n", 3, "not YAML"),
    ],
)
def test_a_bad_policy_is_refused_with_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(BadPolicy) as bad:
        policy(tmp_path, text)
    assert says in bad.value.reason
    assert bad.value.line == line
    assert str(tmp_path) in str(bad.value)


def test_a_policy_that_is_not_text_or_too_long_or_away_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    for data, says in ((b"policy_id: a\n\xff", "UTF-8"), (b"#" * 70_000, "bytes")):
        path.write_bytes(data)
        with pytest.raises(BadPolicy, match=says):
            load_policy(path)
    with pytest.raises(BadPolicy, match="cannot be read"):
        load_policy(tmp_path / "none.yaml")


def test_no_policy_and_the_same_policy_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPolicy, match="no policy is in force"):
        load_policies([])
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(WHITE_PAPER)
    with pytest.raises(BadPolicy, match="another file"):
        load_policies(sorted(tmp_path.glob("*.yaml")))


def test_the_white_paper_s_policy_loads_and_its_version_is_a_digest_of_what_it_says(tmp_path: Path) -> None:
    rules = policy(tmp_path)
    assert (rules.id, *rules.allow, *rules.transform, *rules.block) == (
        "safe-answers-v3",
        "grounded_claims",
        "redact_pii",
        "speculative_financial_promises",
    )
    assert rules.abstain_thresholds["entailment"][1] == 0.85
    canonical = (
        '{"abstain_thresholds":{"entailment":0.85},"allow":["grounded_claims"],'
        '"block":["speculative_financial_promises"],"policy_id":"safe-answers-v3","transform":["redact_pii"]}'
    )
    assert rules.version == hashlib.sha256(canonical.encode()).hexdigest()[:12]
    same = "abstain_thresholds: {entailment: 0.85}  # in another order\n" + WHITE_PAPER.split("abstain")[0]
    assert policy(tmp_path, same).version == rules.version
    assert policy(tmp_path, WHITE_PAPER.replace("0.85", "0.8")).version != rules.version


async def test_the_opened_policy_has_every_policy_of_the_pack_in_force(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    with pytest.raises(BadPolicy, match="no policy is in force"):
        async with open_policy(Settings(pack_dir=str(tmp_path)), MemoryHouse("site1")):
            pass
    policy(tmp_path / "policies", WHITE_PAPER, "a.yaml")
    policy(tmp_path / "policies", "policy_id: b\nabstain_thresholds: {confidence: 1}\n", "b.yml")
    async with open_policy(Settings(pack_dir=str(tmp_path)), MemoryHouse("site1")) as handler:
        [settled] = await handler(drafted(answer()))
        assert [part.id for part in settled.lineage] == ["safe-answers-v3", "b"]
        assert isinstance(settled, Withheld)
