"""Phrases that a policy brings: found whatever their form, not where they are denied, and never a pattern."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.policy_files import judge_here, policy
from tidegate.schemas import Answer, Question
from tidegate.services.policies.language import load_versions
from tidegate.services.policies.node_reader import PolicyError
from tidegate.services.policies.versions import explain_versions

RULES = """\
policy_id: p
block:
  - name: tips
    phrases: {en: [buy gold, a+b], de: [Gold kaufen, 'Zürich (Süd)']}
"""


def judged(tmp_path: Path, text: str, rules: str = RULES, intent: str = "cards") -> tuple[str, list[str]]:
    question = Question(text="?", language="en", intent=intent, intent_confidence=0.9)
    found = judge_here(question, Answer(text=text), (policy(tmp_path, rules),))
    return found.refusal, [each.reason for each in found.decisions]


@pytest.mark.parametrize(
    ("text", "is_stated"),
    [
        ("You should buy gold now.", True),
        ("BUY, and soon: GOLD", False),
        ("Buy\u200b - GOLD!", True),
        ("Sie sollten gold  kaufen.", True),
        ("Fahren Sie nach Zurich, Sud.", True),
        ("Take a+b.", True),
        ("Take aab or a b.", False),
        ("Nobody should buy gold.", False),
        ("Sie sollten nie Gold kaufen.", False),
        ("You buy. Gold is dear.", False),
        ("Overbuy golden rings.", False),
    ],
)
def test_a_phrase_is_found_in_every_form_and_language_but_not_where_it_is_denied(
    tmp_path: Path, text: str, is_stated: bool
) -> None:
    expected = ("policy_block", ["it states one of the rule's phrases"]) if is_stated else ("", [])
    assert judged(tmp_path, text) == expected


def test_with_a_condition_both_have_to_be_met(tmp_path: Path) -> None:
    rules = RULES + "    when: class != 'savings'\n    reason: no tips\n"
    assert judged(tmp_path, "Buy gold.", rules) == ("policy_block", ["no tips"])
    assert judged(tmp_path, "Buy gold.", rules, "savings") == ("", [])
    assert judged(tmp_path, "Buy silver.", rules) == ("", [])
    failing = RULES + "    when: checks['x'] > 0.1\n"
    assert judged(tmp_path, "Buy silver.", failing)[0] == "policy_block", "what fails blocks, whatever is said"


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("phrases: {English: [a]}", "'English' is not a language"),
        ("phrases: {}", "there are 0 phrases"),
        ("phrases: [a]", "phrases is a mapping"),
        ("phrases: {en: a}", "phrases: en is a list"),
        ("phrases: {en: ['???']}", "'???' is no phrase"),
        ("phrases: {en: [" + "x" * 81 + "]}", "is no phrase"),
        ("phrases: {en: [" + ", ".join(f"x{n}" for n in range(201)) + "]}", "there are 201 phrases"),
        ("phrases: {en: [a]}, when: citations", "is INT"),
    ],
)
def test_what_is_no_phrase_is_a_fault(tmp_path: Path, item: str, reason: str) -> None:
    with pytest.raises(PolicyError) as bad:
        policy(tmp_path, f"policy_id: p\nblock: [{{name: own, {item}}}]\n")
    assert (bad.value.line, reason in bad.value.fault) == (2, True)
    with pytest.raises(PolicyError, match="phrases is not a part of such a rule"):
        policy(tmp_path, "policy_id: p\nallow: [{name: own, when: 'true', phrases: {en: [a]}}]\n")


def test_a_phrase_is_no_pattern_that_takes_long(tmp_path: Path) -> None:
    rules = "policy_id: p\nblock: [{name: own, phrases: {en: ['(a+)+ (a*)*b', 'a a a a a a a a c']}}]\n"
    began_s = time.process_time()
    assert judged(tmp_path, "a " * 5_000, rules) == ("", [])
    assert time.process_time() - began_s < 2


def test_phrases_count_for_the_version_and_for_which_one_is_stricter(tmp_path: Path) -> None:
    for name, text in (("north", RULES), ("south", RULES.replace("buy gold", "sell gold"))):
        (tmp_path / f"{name}.yaml").write_text(text)
    versions = load_versions(sorted(tmp_path.glob("*.yaml")), {})
    assert versions[0].version != versions[1].version
    explained = explain_versions(versions)["p"]
    assert "block/tips when any phrases de: Gold kaufen, Zürich (Süd) en: buy gold, a+b by north" in explained
    assert "sell gold, a+b by south" in explained
