"""Conditions of rules: what cannot be asked is found when the policy is read, what fails when it is asked blocks."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.paths import ROOT
from tests.support.policy_files import HERE, judge_here, policy
from tidegate.schemas import Answer, Check, Citation, Question
from tidegate.services.policies.condition_cost import (
    MOST_COST,
    MOST_OF_A_POLICY,
    find_cost_fault,
    reckon_cost,
    scan_condition,
)
from tidegate.services.policies.conditions import (
    CHUNK,
    BoundFacts,
    Condition,
    ConditionError,
    ConditionSet,
    bind,
    compile_condition,
)
from tidegate.services.policies.facts import FACTS, ConditionFailedError, Facts, gather_facts
from tidegate.services.policies.node_reader import PolicyError

QUOTE = "A lost card is blocked at once."
QUESTION = Question(text="What if I lose my card?", language="en", intent="cards", intent_confidence=0.9)
CITED = Citation(
    document_id="cards", document_version="v", start=0, end=len(QUOTE), quote=QUOTE, signer="hub/01", collection="docs"
)
VOUCHED = (Check("grounding", True, 1.0), Check("entailment", True, 0.93))
ANSWER = Answer(text=QUOTE, citations=(CITED,), checks=VOUCHED, confidence=0.9)


def rules(tmp_path: Path, part: str, *items: str) -> tuple[str, dict[str, str]]:
    """The refusal and the reasons, by rule, of a policy with these items in one part."""
    text = f"policy_id: p\n{part}:\n" + "".join(f"  - {item}\n" for item in items)
    found = judge_here(QUESTION, ANSWER, (policy(tmp_path, text),))
    return found.refusal, {each.rule: f"{each.verb}: {each.reason}" for each in found.decisions}


@pytest.mark.parametrize(
    ("when", "is_met"),
    [
        ("class == 'cards' && workload == 'assist' && intent_confidence > 0.8", True),
        ("language in ['de', 'fr']", False),
        ("tenant == 'kiosk' && site.startsWith('site')", True),
        ("signers.all(s, s == 'hub') && is_signed && is_fresh && stale_citations == 0", True),
        ("'entailment' in checks && checks['entailment'] < 0.95", True),
        ("is_escalated || route == 'cloud' || size(tools) > 0 || size(degradations) > 0", False),
        ("text.matches('(?i)LOST +card') && folded_text.contains('a lost card')", True),
        ("documents == ['cards'] && collections == ['docs'] && citations == 1", True),
        ("format == 'json' || writing != 'quote' || personal_values > 0", False),
        ("question.endsWith('card?') && confidence >= 0.9 && intent == 'cards'", True),
    ],
)
def test_a_condition_is_asked_of_the_facts_of_the_answer(tmp_path: Path, when: str, is_met: bool) -> None:
    own = f'{{name: own, when: "{when}", reason: because}}'
    assert rules(tmp_path, "block", own) == (("policy_block", {"p/own": "block: because"}) if is_met else ("", {}))
    refusal, reasons = rules(tmp_path, "allow", own)
    assert (refusal, reasons) == (
        ("", {"p/own": "allow: its condition holds"}) if is_met else ("abstained", {"p/own": "abstain: because"})
    )


def test_a_rule_of_ours_with_a_condition_is_asked_about_those_cases_only(tmp_path: Path) -> None:
    sue = msgspec.structs.replace(ANSWER, text="You should sue your bank for it.", citations=())
    for when, refusal in (("language == 'en'", "policy_block"), ("language == 'de'", "")):
        judged = policy(tmp_path, f'policy_id: p\nblock: [{{rule: legal_advice, when: "{when}"}}]\n')
        assert judge_here(QUESTION, sue, (judged,)).refusal == refusal
    for when, refusal in (("language == 'en'", "abstained"), ("language == 'de'", "")):
        judged = policy(tmp_path, f'policy_id: p\nallow: [{{rule: grounded_claims, when: "{when}"}}]\n')
        assert judge_here(QUESTION, sue, (judged,)).refusal == refusal


@pytest.mark.parametrize("part", ["allow", "block", "transform"])
def test_a_condition_that_fails_blocks_with_the_reason_whatever_it_is_a_condition_of(tmp_path: Path, part: str) -> None:
    ours = {"allow": "grounded_claims", "block": "legal_advice", "transform": "redact_pii"}[part]
    items = [f"{{rule: {ours}, when: \"checks['style'] > 0.5\"}}"]
    items += [] if part == "transform" else ["{name: own, when: '1 / stale_citations > 0'}"]
    refusal, reasons = rules(tmp_path, part, *items)
    assert refusal == "policy_block"
    assert reasons[f"p/{ours}"] == 'block: its condition has failed: Key not found in map : "style"'
    if part != "transform":
        assert reasons["p/own"] == "block: its condition has failed: divide by zero"


def test_an_answer_that_rests_on_more_than_conditions_are_asked_about_is_blocked(tmp_path: Path) -> None:
    many = msgspec.structs.replace(
        ANSWER, citations=tuple(msgspec.structs.replace(CITED, document_id=f"d{n}") for n in range(65))
    )
    judged = policy(tmp_path, "policy_id: p\nblock: [{name: own, when: 'citations < 0'}]\n")
    found = judge_here(QUESTION, many, (judged,))
    assert (found.refusal, "65 documents" in found.decisions[0].reason) == ("policy_block", True)


@pytest.mark.parametrize(
    ("item", "line", "reason", "hint"),
    [
        ("{name: own, when: 'langage == 1'}", 3, "undeclared reference to 'langage'", "did you mean language?"),
        ("{name: own, when: 'xyzzy'}", 3, "undeclared", "the facts are tenant, site, class"),
        ("{name: own, when: 'confidence >= 1'}", 3, "no matching overload", "1.0, not 1"),
        ("{name: own, when: 'citations'}", 3, "is INT, neither true nor false", "citations > 0"),
        ("{name: own, when: 'dyn(citations)'}", 3, "switches the checking of types off", ""),
        ("{name: own, when: 'text =='}", 3, "Syntax error", ""),
        ("{name: own, when: \"text.matches('(a')\"}", 3, "missing )", "RE2"),
        ("{name: own, when: 'text.matches(question)'}", 3, "one pattern in quotes", ""),
        ("{name: own, when: '" + "(" * 20 + "true" + ")" * 20 + "'}", 3, "nested too deeply", "12"),
        ("{name: own, when: 'size(text) > " + "0" * 1_000 + "'}", 3, "1013 characters", "1000"),
        ("{name: own, when: 'documents.exists(a, signers.exists(b, text.contains(a + b)))'}", 3, "too long", "loops"),
        ("{name: own, when: true}", 3, "a condition is a text", "quotes"),
        ("{name: own}", 3, "when is missing", ""),
        ("{when: 'true'}", 3, "rule or name is missing", ""),
        ("{rule: legal_advice, when: 'true', reason: x}", 3, "reason is not a part", "rule, when"),
        ("{name: legal_advice, when: 'true'}", 3, "is there already", ""),
        ("{name: Own, when: 'true'}", 3, "is not the name of a rule", ""),
        ("{rule: everything, when: 'true'}", 3, "is nothing that a policy can block", "legal_advice"),
        ("{name: own, when: 'true', reason: " + "x" * 301 + "}", 3, "301 characters", "300"),
        ('{name: own, when: "true", reason: "a\\e[31mb"}', 3, "a reason holds a control character", ""),
        ("{name: own, when: \"text == '\\u202e'\"}", 3, "a condition holds a control character", ""),
        ("name: own\n    when: |\n      true &&\n      fals", 6, "undeclared reference to 'fals'", ""),
        ("name: own\n    when: >\n      true &&\n      fals", 5, "undeclared reference to 'fals'", ""),
    ],
)
def test_what_cannot_be_asked_is_a_fault_of_its_line(
    tmp_path: Path, item: str, line: int, reason: str, hint: str
) -> None:
    with pytest.raises(PolicyError) as bad:
        policy(tmp_path, f"policy_id: p\nblock:\n  - {item}\n")
    assert bad.value.line == line
    assert reason in bad.value.fault
    assert hint in bad.value.hint


def test_a_part_has_no_more_rules_than_can_be_asked_in_time(tmp_path: Path) -> None:
    items = "".join(f"  - {{name: r{n}, when: 'citations > {n}'}}\n" for n in range(501))
    with pytest.raises(PolicyError, match="block has 501 rules") as bad:
        policy(tmp_path, f"policy_id: p\nblock:\n{items}")
    assert bad.value.line == 503


def test_where_there_is_no_answer_no_rule_is_asked_and_it_is_abstained_from(tmp_path: Path) -> None:
    items = "[{name: own, when: 'citations == 0'}, {name: failing, when: \"checks['x'] > 0.1\"}]"
    judged = policy(tmp_path, f"policy_id: p\nblock: {items}\n")
    assert judge_here(QUESTION, Answer(text=" "), (judged,)).refusal == "abstained"
    assert judge_here(QUESTION, Answer(text="Yes."), (judged,)).refusal == "policy_block"


def test_a_text_that_is_no_unicode_is_blocked_and_not_asked_about(tmp_path: Path) -> None:
    judged = policy(tmp_path, "policy_id: p\nblock: [{name: own, when: \"text == 'x'\"}]\n")
    found = judge_here(QUESTION, msgspec.structs.replace(ANSWER, text="half \ud800"), (judged,))
    assert (found.refusal, "its condition has failed" in found.decisions[0].reason) == ("policy_block", True)


def test_conditions_and_reasons_count_for_the_version_of_a_policy_and_their_form_does_not(tmp_path: Path) -> None:
    texts = (
        "policy_id: p\nblock: [legal_advice]\n",
        "policy_id: p\nblock: [{rule: legal_advice, when: 'true'}]\n",
        "policy_id: p\nblock: [legal_advice, {name: own, when: 'true'}]\n",
        "policy_id: p\nblock: [legal_advice, {name: own, when: 'true', reason: x}]\n",
        "policy_id: p\nblock:\n  - legal_advice\n  - {when: 'true', name: own, reason: x}\n",
    )
    versions = [policy(tmp_path, text).version for text in texts]
    assert len(set(versions)) == 4
    assert versions[-1] == versions[-2]


SOURCES = ("citations > {n}", "1 / {n} > citations", "class == 'c{n}'", "checks['c{n}'] > 0.5", "citations < {n}")


@given(st.lists(st.tuples(st.sampled_from(SOURCES), st.integers(0, 3)), max_size=2 * CHUNK + 3))
def test_conditions_asked_together_say_what_each_says_alone(chosen: list[tuple[str, int]]) -> None:
    conditions = [compile_condition(source.format(n=n)) for source, n in chosen]
    bound = bind(gather_facts(QUESTION, ANSWER, HERE))
    expected: list[tuple[int, str]] = []
    for position, condition in enumerate(conditions):
        expected += [(position, failure) for acts, failure in [ask(condition, bound)] if acts]
    assert list(ConditionSet.of(conditions).find(bound)) == expected


def ask(condition: Condition, bound: BoundFacts) -> tuple[bool, str]:
    try:
        return condition.holds(bound), ""
    except ConditionFailedError as error:
        return True, error.reason


def test_every_fact_has_a_type_that_conditions_know_and_none_is_left_out() -> None:
    given_facts = gather_facts(QUESTION, ANSWER, HERE)
    for name in FACTS:
        kind = next(str(each.type) for each in fields(Facts) if each.name.rstrip("_") == name)
        asked = {"str": f"{name} == ''", "int": f"{name} == 0", "float": f"{name} == 0.0", "bool": f"!{name}"}
        condition = compile_condition(asked.get(kind, f"size({name}) == 0"))
        value = getattr(given_facts, f"{name}_" if name == "class" else name)
        assert condition.holds(bind(given_facts)) is (not value)


WORST = (
    "documents.exists(a, signers.exists(b, a + b == 'x'))",
    "documents.all(a, !text.matches('(a|b)*c?d?e?.*x.*y.*z') && !text.contains(a))",
    "documents.map(a, signers.map(b, a + b)) == [['x']]",
)


@pytest.mark.parametrize("source", WORST)
def test_the_costliest_conditions_that_are_taken_end_soon(source: str) -> None:
    assert find_cost_fault(source) is None
    citations = tuple(
        msgspec.structs.replace(CITED, document_id=f"document-{n:02}", signer=f"signer{n}/01") for n in range(64)
    )
    long = msgspec.structs.replace(ANSWER, text=QUOTE * 100, citations=citations)
    bound = bind(gather_facts(QUESTION, long, HERE))
    condition = compile_condition(source)
    began_s = time.process_time()
    condition.holds(bound)
    assert time.process_time() - began_s < 1


@given(st.text(alphabet="ab'\"\\ ()[]{}.<>=!&|/\n0123rx", max_size=60))
def test_any_text_is_scanned_to_its_end_and_is_a_condition_or_refused(source: str) -> None:
    scanned = "".join(each.text for each in scan_condition(source))
    assert "//" in source or scanned.replace(" ", "").replace("\n", "") == source.replace(" ", "").replace("\n", "")
    with contextlib.suppress(ConditionError):
        assert compile_condition(source).source == source


def test_loops_are_reckoned_with_the_longest_lists() -> None:
    body = "a != ''" + " && a != ''" * 5
    assert find_cost_fault(f"documents.all(a, {body})") is None
    nested = f"documents.all(a, signers.all(b, collections.all(c, {body})))"
    fault = find_cost_fault(nested)
    assert fault is not None
    assert str(MOST_COST) in fault.hint


def test_what_all_conditions_of_a_policy_may_cost_is_bounded(tmp_path: Path) -> None:
    loops = "documents.all(a, signers.all(b, a != b && a != ''))"
    one = reckon_cost(loops)
    assert 20_000 < one < MOST_COST
    for count, is_taken in ((MOST_OF_A_POLICY // one, True), (MOST_OF_A_POLICY // one + 1, False)):
        text = "policy_id: p\nblock:\n" + "".join(f'  - {{name: r{n}, when: "{loops}"}}\n' for n in range(count))
        with contextlib.nullcontext() if is_taken else pytest.raises(PolicyError, match="steps together"):
            policy(tmp_path, text)


def test_facts_differ_with_where_and_for_whom_it_is_judged(tmp_path: Path) -> None:
    judged = policy(
        tmp_path, "policy_id: p\nblock: [{name: own, when: \"tenant == 'a' && site == 'b' && is_escalated\"}]\n"
    )
    there = replace(HERE, tenant="a", site="b", route="cloud")
    assert judge_here(QUESTION, ANSWER, (judged,)).refusal == ""
    assert judge_here(QUESTION, ANSWER, (judged,), here=there).refusal == "policy_block"


WITHOUT_ENGINE = """
import sys
sys.modules["cel_expr_python"] = None
from pathlib import Path
from tests.services.policies.test_conditions import ANSWER, QUESTION
from tests.support.policy_files import judge_here, policy, WHITE_PAPER
from tidegate.services.policies.language import read_policy
folder = Path(sys.argv[1])
print(judge_here(QUESTION, ANSWER, [policy(folder)]).refusal or "passed")
file = folder / "q.yaml"
file.write_text("policy_id: q\\nblock: [{name: own, when: 'true'}]\\n")
[fault] = read_policy(file)[1]
print(fault.line, fault.fault, fault.hint)
"""


def test_without_the_engine_only_policies_with_conditions_are_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_ENGINE, str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stdout.splitlines() == [
        "passed",
        "2 conditions of policies need cel-expr-python pip install 'tidegate[edge]'",
    ], ran.stderr
