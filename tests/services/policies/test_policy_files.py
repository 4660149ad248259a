"""A policy's file: a bad one is refused with its line, a good one is known by a digest of its rules."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.support.policy_files import WHITE_PAPER, policy
from tidegate.services.policies.language import load_policies, read_policy
from tidegate.services.policies.node_reader import PolicyError
from tidegate.services.policies.registry import PARTS, describe


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("policy_id: a\nblocks: [x]\n", 2, "blocks is not a part of a policy"),
        ("policy_id: a\nblock:\n  - speculative_financial_promises\n  - everything\n", 4, "everything is nothing"),
        ("policy_id: a\nallow: [grounded_claims]\nallow: []\n", 3, "allow is there twice"),
        ("policy_id: a\nallow: [grounded_claims, grounded_claims]\n", 2, "is there twice"),
        ("policy_id: a\nallow: &x [grounded_claims]\n", 2, "an anchor"),
        ("policy_id: a\nallow: [*x]\n", 2, "an alias"),
        ("policy_id: !!python/name:os.system a\n", 1, "a tag"),
        ("%YAML 1.1\n---\npolicy_id: a\n", 1, "a directive"),
        ("policy_id: a\nallow: [grounded_claims]\n---\npolicy_id: b\n---\na: b\n", 3, "a second document"),
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
        ("policy_id: a\nclass_thresholds: [fees]\n", 2, "class_thresholds is a mapping"),
        ("policy_id: a\nclass_thresholds:\n  fees: 0.7\n", 3, "class_thresholds: fees is a mapping"),
        ("policy_id: a\nclass_thresholds:\n  fees: {confidence: 2}\n", 3, "not between 0 and 1"),
        ("policy_id: a\nclass_thresholds:\n  fees:\n    charm: 0.9\n", 4, "charm is no score"),
        ("allow: [grounded_claims]\n", 1, "policy_id is missing"),
        ("policy_id: 7\n", 1, "policy_id is a text"),
        ("policy_id: A b\nallow: [grounded_claims]\n", 1, "is not a policy_id"),
        ("policy_id: a\n", 1, "has no rules"),
        ("", 1, "empty"),
        ("- a\n", 1, "a policy is a mapping"),
        ("policy_id: a\nallow: [x\nb: c\n", 3, "not YAML"),
        ("policy_id: a\n\n#\x01\n", 3, "not YAML"),
    ],
)
def test_a_bad_policy_is_refused_with_its_line(tmp_path: Path, text: str, line: int, reason: str) -> None:
    with pytest.raises(PolicyError) as bad:
        policy(tmp_path, text)
    assert reason in bad.value.reason
    assert bad.value.line == line
    assert str(tmp_path) in str(bad.value)


def test_a_policy_that_is_not_text_or_too_long_or_away_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    for data, reason in ((b"policy_id: a\n\xff", "UTF-8"), (b"#" * 70_000, "bytes")):
        path.write_bytes(data)
        with pytest.raises(PolicyError, match=reason):
            load_policies([path])
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policies([tmp_path / "none.yaml"])


def test_no_policy_and_the_same_policy_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no policy is in force"):
        load_policies([])
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(WHITE_PAPER)
    with pytest.raises(PolicyError, match="another file"):
        load_policies(sorted(tmp_path.glob("*.yaml")))


def test_the_white_paper_s_policy_loads_and_its_version_is_a_digest_of_its_rules(tmp_path: Path) -> None:
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


def test_thresholds_of_a_class_count_for_the_version_and_are_rules_by_themselves(tmp_path: Path) -> None:
    versions = {
        policy(tmp_path, f"policy_id: a\nclass_thresholds:\n  fees: {{confidence: {least}}}\n").version
        for least in (0.7, 0.8)
    }
    assert len(versions) == 2


def test_all_faults_of_a_policy_are_found_at_once_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "policy_id: A b\npermit: []\nallow: [everything, 3]\nblock: legal_advice\nabstain_thresholds:\n  charm: 1\n"
        "  entailment: 8\n  confidence: sure\nallow: []\n"
    )
    read, faults = read_policy(path)
    assert read is None
    assert [fault.line for fault in faults] == [1, 2, 3, 3, 4, 6, 7, 8, 9]
    assert all(fault.hint and fault.fault in fault.reason for fault in faults)
    good = tmp_path / "good.yaml"
    good.write_text(WHITE_PAPER)
    assert read_policy(good) == (load_policies([good])[0], [])


@pytest.mark.parametrize("part", PARTS)
def test_a_hint_names_every_rule_of_a_part_with_its_meaning(tmp_path: Path, part: str) -> None:
    wrong = "{no: 1}" if part == "abstain_thresholds" else "[no]"
    with pytest.raises(PolicyError) as bad:
        policy(tmp_path, f"policy_id: a\n{part}: {wrong}\n")
    assert bad.value.hint == f"there is {describe(part)}"
    for verb in PARTS[part].values():
        assert f"{verb.name} ({verb.meaning})" in bad.value.hint
