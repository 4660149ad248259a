"""Versions of one policy that were written apart: the stricter of each rule acts, and the decision says so."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.policy_files import judge_here
from tidegate.schemas import Answer, Check, Citation, Question
from tidegate.services.policies.language import load_policies, load_versions
from tidegate.services.policies.node_reader import PolicyError
from tidegate.services.policies.policy import Policy
from tidegate.services.policies.registry import ALLOW, BLOCK, THRESHOLDS
from tidegate.services.policies.versions import explain_versions
from tidegate.services.policies.writing import choose_writing

QUOTE = "A lost card is blocked at once."
HUB = "policy_id: branch\nallow: [grounded_claims]\nabstain_thresholds: {confidence: 0.6}\ngrounded: [assist]\n"
SOURCED = "policy_id: branch\nallow: [grounded_claims]\n"
NORTH = "policy_id: branch\nblock: [legal_advice]\nabstain_thresholds: {confidence: 0.9}\n"


def question(intent: str = "cards") -> Question:
    return Question(text="What if I lose my card?", language="en", intent=intent, intent_confidence=0.9)


def answer(confidence: float, text: str = QUOTE, signer: str = "") -> Answer:
    cited = Citation(document_id="cards", document_version="v", start=0, end=len(QUOTE), quote=QUOTE, signer=signer)
    checks = (Check("grounding", True, 1.0), Check("entailment", True, 1.0))
    return Answer(text=text, citations=(cited,), checks=checks, confidence=confidence)


def versions(folder: Path, epochs: Mapping[str, int], **texts: str) -> tuple[Policy, ...]:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return load_versions(sorted(folder.glob("*.yaml")), epochs)


@pytest.mark.parametrize(("confidence", "refusal"), [(0.7, "abstained"), (0.95, "")])
def test_the_stricter_version_acts_whichever_is_written_first_and_the_decision_says_so(
    tmp_path: Path, confidence: float, refusal: str
) -> None:
    both = versions(tmp_path, {"hub": 3, "north": 1}, hub=HUB, north=NORTH)
    for policies in itertools.permutations(both):
        found = judge_here(question(), answer(confidence), policies)
        assert found.refusal == refusal
        [note] = [each for each in found.decisions if each.rule == "branch/versions"]
        assert note.verb == ("abstain" if refusal else "allow")
        assert "confidence by north (epoch 1)" in note.reason
        assert "allow/grounded_claims by hub (epoch 3)" in note.reason
        assert "block/legal_advice by north (epoch 1)" in note.reason
        assert {(part.id, part.epoch) for part in found.policies} == {("branch", 3), ("branch", 1)}


def test_one_version_or_two_equal_ones_are_no_conflict(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    same = versions(tmp_path, {"a": 1, "b": 4}, a=HUB, b=HUB)
    other = versions(tmp_path / "other", {}, a=HUB, c=NORTH.replace("branch", "north"))
    for policies in (same, other):
        assert explain_versions(policies) == {}
        assert judge_here(question(), answer(0.95), policies).refusal == ""
    assert [(policy.part, policy.epoch) for policy in same] == [("a", 1), ("b", 4)]


def test_a_pack_s_own_folder_may_still_state_a_policy_only_once(tmp_path: Path) -> None:
    versions(tmp_path, {}, a=HUB, b=NORTH)
    with pytest.raises(PolicyError, match="in another file too"):
        load_policies(sorted(tmp_path.glob("*.yaml")))
    with pytest.raises(PolicyError, match="no policy is in force"):
        load_versions((), {})


def test_what_one_version_lets_a_model_write_and_another_does_not_is_quoted(tmp_path: Path) -> None:
    hub, north = versions(tmp_path, {}, hub=HUB, north=NORTH)
    assert choose_writing(question(), (hub,)) == "grounded"
    assert choose_writing(question(), (north,)) == "quote"
    assert choose_writing(question(), (hub, north)) == "quote"
    assert "not grounded/assist by north" in explain_versions((hub, north))["branch"]


@pytest.mark.parametrize(
    ("hub", "north", "signer", "refused_by", "acts"),
    [
        ("", "require_signed: true", "", "is signed by nobody", ["require_signed by north"]),
        ("", "require_signed: true", "site1/5e", "", ["require_signed by north"]),
        (
            "require_signed: true", "trusted_signers: [hub]", "site1/5e", "is signed by site1",
            ["trusted_signers by north"],
        ),
        (
            "trusted_signers: [hub, site1]", "trusted_signers: [hub]", "site1/5e", "is signed by site1",
            ["not trusted_signers/site1 by north"],
        ),
        (
            "trusted_signers: [hub]", "trusted_signers: [site1]", "hub/5e", "is signed by hub",
            ["not trusted_signers/site1 by hub", "not trusted_signers/hub by north"],
        ),
        ("trusted_signers: [hub]", "trusted_signers: [hub]", "hub/5e", "", []),
    ],
)  # fmt: skip
def test_of_two_rules_on_signers_the_stricter_acts_and_is_named(
    tmp_path: Path, hub: str, north: str, signer: str, refused_by: str, acts: list[str]
) -> None:
    both = versions(tmp_path, {}, hub=f"{SOURCED}{hub}\n", north=f"{SOURCED}{north}\n")
    for policies in itertools.permutations(both):
        found = judge_here(question(), answer(0.9, signer=signer), policies)
        reasons = [each.reason for each in found.decisions if each.verb == "abstain"]
        assert bool(found.refusal) is bool(refused_by)
        assert not refused_by or any(refused_by in reason for reason in reasons)
        explained = explain_versions(policies).get("branch", "")
        assert bool(explained) is bool(acts)
        assert all(each in explained for each in acts), explained


NAMES = ("a", "b", "c")


SOURCE_LINES = ("", "require_signed: true", "trusted_signers: [hub]", "trusted_signers: [hub, site1]")
SIGNERS = st.sampled_from(("", "hub/5e", "site1/5e", "hub/5e site2/5e"))


@st.composite
def policy_texts(draw: st.DrawFn) -> str:
    shares = st.sampled_from((0.2, 0.5, 0.8))
    lines = ["policy_id: p", f"allow: [{', '.join(draw(st.lists(st.sampled_from(sorted(ALLOW)), unique=True)))}]"]
    lines.append(f"block: [{', '.join(draw(st.lists(st.sampled_from(sorted(BLOCK)), unique=True)))}]")
    least = draw(st.dictionaries(st.sampled_from(sorted(THRESHOLDS)), shares))
    lines.append("abstain_thresholds: {" + ", ".join(f"{k}: {v}" for k, v in least.items()) + "}")
    classes = draw(st.dictionaries(st.sampled_from(("cards", "assist")), shares, max_size=2))
    lines.append("class_thresholds: {" + ", ".join(f"{k}: {{confidence: {v}}}" for k, v in classes.items()) + "}")
    lines.append("transform: [redact_pii]")
    lines.append(f"grounded: [{', '.join(draw(st.lists(st.sampled_from(('cards', 'assist')), unique=True)))}]")
    lines.append(draw(st.sampled_from(SOURCE_LINES)))
    return "\n".join(lines) + "\n"


@given(st.lists(policy_texts(), min_size=1, max_size=3), st.sampled_from((0.1, 0.4, 0.7, 0.9)), st.booleans(), SIGNERS)
def test_versions_together_refuse_whatever_any_one_of_them_refuses_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], confidence: float, grounded: bool, signer: str
) -> None:
    folder = tmp_path_factory.mktemp("versions")
    policies = versions(folder, {}, **dict(zip(NAMES, texts, strict=False)))
    given_answer = answer(confidence, QUOTE if grounded else "You should sue your bank for it.", signer)

    def refused(chosen: tuple[Policy, ...]) -> bool:
        return bool(judge_here(question(), given_answer, chosen).refusal)

    assert refused(policies) is any(refused((policy,)) for policy in policies)
    ways = [choose_writing(question(), (policy,)) for policy in policies]
    assert (choose_writing(question(), policies) == "quote") is ("quote" in ways)
