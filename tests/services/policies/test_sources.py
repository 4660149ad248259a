"""Policies about sources: what rests on a document that nobody signed, or somebody else did, is no answer."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.support.message_parts import CITATION, PASSAGE
from tests.support.policy_files import HERE, judge_here, policy
from tidegate.schemas import Answer, Check, Citation, Question, replace
from tidegate.services.policies.language import read_policy
from tidegate.services.policies.node_reader import PolicyError
from tidegate.services.policies.policy import Policy
from tidegate.services.policies.suggestions import allow_suggestions, suggest

QUESTION = Question(text="What is it?", language="en", intent="cards", intent_confidence=1.0)
SIGNED = "policy_id: p\nallow: [grounded_claims]\nrequire_signed: true\n"
TRUSTED = "policy_id: p\nallow: [grounded_claims]\ntrusted_signers: [hub, site1]\n"
KEY = "0123456789abcdef"


def cited(name: str, signer: str) -> Citation:
    return replace(CITATION, document_id=name, signer=signer, collection="documents" if signer else "")


def judged(*citations: Citation, policies: tuple[Policy, ...], is_provisional: bool = False) -> tuple[str, list[str]]:
    answer = Answer(text=CITATION.quote, citations=citations, confidence=1.0)
    here = dataclasses.replace(HERE, is_provisional=is_provisional)
    found = judge_here(QUESTION, answer, policies, here=here)
    return found.refusal, [f"{each.rule} {each.verb}: {each.reason}" for each in found.decisions]


@pytest.mark.parametrize(
    ("text", "signers", "reason"),
    [
        (SIGNED, (f"hub/{KEY}",), ""),
        (SIGNED, (f"site9/{KEY}",), ""),
        (SIGNED, ("",), "d0 is signed by nobody"),
        (SIGNED, (f"hub/{KEY}", ""), "d1 is signed by nobody"),
        (TRUSTED, (f"hub/{KEY}", f"site1/{KEY}"), ""),
        (TRUSTED, (f"site2/{KEY}",), "d0 is signed by site2"),
        (TRUSTED, (f"hub/{KEY}", f"site1/{KEY} site2/{KEY}"), "d1 is signed by site2"),
        (TRUSTED, ("", f"site10/{KEY}"), "d0 is signed by nobody; d1 is signed by site10"),
        ("policy_id: p\nallow: [grounded_claims]\nrequire_signed: false\n", ("",), ""),
    ],
)
@pytest.mark.parametrize("is_provisional", [False, True])
def test_one_source_too_many_refuses_the_answer(
    tmp_path: Path, text: str, signers: tuple[str, ...], reason: str, is_provisional: bool
) -> None:
    citations = tuple(cited(f"d{number}", signer) for number, signer in enumerate(signers))
    refusal, decisions = judged(*citations, policies=(policy(tmp_path, text),), is_provisional=is_provisional)
    assert refusal == ("abstained" if reason else "")
    if reason:
        rule = "require_signed" if text == SIGNED else "trusted_signers"
        assert decisions == [f"p/{rule} abstain: {reason}"]


def test_the_receipt_says_who_signed(tmp_path: Path) -> None:
    _, decisions = judged(cited("a", f"hub/{KEY}"), cited("b", f"hub/{KEY}"), policies=(policy(tmp_path, SIGNED),))
    assert f"p/require_signed allow: 2 document(s) signed by hub/{KEY}" in decisions


def test_all_policies_hold_together(tmp_path: Path) -> None:
    narrow = policy(tmp_path, "policy_id: q\ntrusted_signers: [hub]\n", "q.yaml")
    both = (policy(tmp_path, TRUSTED), narrow)
    assert judged(cited("a", f"hub/{KEY}"), policies=both)[0] == ""
    assert judged(cited("a", f"site1/{KEY}"), policies=both) == (
        "abstained",
        ["q/trusted_signers abstain: a is signed by site1"],
    )


def test_what_cites_nothing_rests_on_no_source(tmp_path: Path) -> None:
    answer = Answer(text='{"a": 1}', format="json", checks=(Check("schema", True, 1.0),), confidence=1.0)
    found = judge_here(QUESTION, answer, (policy(tmp_path, SIGNED),))
    assert found.refusal == ""


def test_what_is_near_is_offered_of_trusted_sources_only(tmp_path: Path) -> None:
    near = suggest(
        [replace(PASSAGE, document_id=name, signer=signer, is_fresh=False) for name, signer in
         (("a", f"hub/{KEY}"), ("b", ""), ("c", f"site2/{KEY}"))]
    )  # fmt: skip
    assert (near[0].signer, near[0].is_fresh) == (f"hub/{KEY}", False)
    offered = allow_suggestions(QUESTION, near, [policy(tmp_path, TRUSTED)], lambda _: (), HERE)
    assert [each.document_id for each in offered] == ["a"]
    offered = allow_suggestions(QUESTION, near, [policy(tmp_path, SIGNED)], lambda _: (), HERE)
    assert [each.document_id for each in offered] == ["a", "c"]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("require_signed: yes", 2, "require_signed is true or false"),
        ("require_signed: 1", 2, "require_signed is true or false"),
        ("require_signed: [true]", 2, "require_signed is true or false"),
        ("trusted_signers: hub", 2, "trusted_signers is a list"),
        ("trusted_signers: []", 2, "trusted_signers names nobody"),
        ("trusted_signers: [hub, Site 1]", 2, "Site 1 is no site"),
        ("trusted_signers: [3]", 2, "a site is a text"),
        ("require_signed: false", 1, "has no rules"),
    ],
)
def test_a_fault_has_its_line(tmp_path: Path, text: str, line: int, reason: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(f"policy_id: p\n{text}\n")
    found, faults = read_policy(path)
    assert found is None
    assert reason in faults[0].reason
    assert (type(faults[0]), faults[0].line) == (PolicyError, line)


def test_they_are_part_of_the_version_where_they_say_something(tmp_path: Path) -> None:
    plain = "policy_id: p\nallow: [grounded_claims]\n"
    versions = [
        policy(tmp_path, f"{plain}{text}").version
        for text in (
            "", "require_signed: false\n", "require_signed: true\n", "trusted_signers: [hub]\n",
            "trusted_signers: [hub, site1]\n", "trusted_signers: [site1, hub, hub]\n",
        )
    ]  # fmt: skip
    assert versions[0] == versions[1]
    assert versions[4] == versions[5]
    assert len(set(versions)) == 4
    alone = policy(tmp_path, "policy_id: p\nrequire_signed: true\n")
    assert alone.sources.rule == "require_signed"
