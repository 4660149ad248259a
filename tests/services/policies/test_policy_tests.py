"""Tests that lie beside a policy: what they expect is checked, what no test covers is named; decisions by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.paths import KIOSK
from tests.support.small_pack import pack_at
from tidegate.services.cli.policy import BadInputError
from tidegate.services.cli.policy import policy as policy_command
from tidegate.services.packs.active import MadeFiles, PackInForce
from tidegate.services.packs.load import check_pack, load_pack
from tidegate.services.packs.new import complete_pack
from tidegate.services.packs.parts import parts_of
from tidegate.services.packs.policy_folder import NoPoliciesError, read_policies, run_policy_tests
from tidegate.services.policies.decision_log import DecisionRecord, PolicyInput, record_decision
from tidegate.services.policies.testing import PolicyTestReport, list_rules

RULES = """\
policy_id: p
allow: [grounded_claims]
block:
  - {name: own, when: "'x' in checks", reason: because}
languages: [en, de]
tools: [rates]
obligations: [{name: note, notice: {en: Ask us.}}]
"""
CITED = "text: We open., citations: [{document: d, quote: We open.}]"
REGIONS = ("GB",)


def case(expect: str, more: str = "", name: str = "t", outside: str = "") -> str:
    return f"- {{name: {name}, input: {{{CITED}{more}}}, expect: {{{expect}}}{outside}}}\n"


def run(folder: Path, *cases: str, rules: str = RULES) -> PolicyTestReport:
    (folder / "p.yaml").write_text(rules)
    (folder / "p_test.yaml").write_text("".join(cases))
    return run_policy_tests(read_policies(folder), REGIONS)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (case("verb: allow, notices: [Ask us.], text: We open."), ""),
        (case("verb: block", ", checks: {x: 1}"), ""),
        (case("verb: block, reason: unsupported_language, rules: [languages]", ", language: fr"), ""),
        (case("verb: abstain, rules: [p/grounded_claims]", ", confidence: 1.0").replace("We open.}]", "No.}]"), ""),
        (case("verb: block"), "expected block, got allow"),
        (case("verb: block, reason: abstained", ", checks: {x: 1}"), "expected the reason abstained, got policy_block"),
        (case("verb: block, rules: [own, q/own]", ", checks: {x: 1}"), "q/own did not act"),
        (case("verb: allow, text: We shut."), "expected the text 'We shut.'"),
        (case("verb: allow, notices: []"), "expected the notices [], got ['Ask us.']"),
        (case("verb: allow", outside=", policies: [q]"), "there is no policy q"),
    ],
)
def test_a_test_passes_where_what_it_expects_comes_of_its_input(tmp_path: Path, text: str, fault: str) -> None:
    [outcome] = run(tmp_path, text).tests
    assert outcome.fault.startswith(fault)
    assert bool(outcome.fault) is bool(fault)
    assert (Path(outcome.file).name, outcome.line) == ("p_test.yaml", 1)


def test_the_rules_that_never_acted_are_named(tmp_path: Path) -> None:
    report = run(tmp_path, case("verb: block", ", checks: {x: 1}"), case("verb: allow", name="u"))
    assert {use.rule: use.tests for use in report.rules} == {
        "p/grounded_claims": 0, "p/own": 1, "p/languages": 0, "p/tools": 0, "p/note": 1,
    }  # fmt: skip
    assert report.coverage == 0.4
    assert "2 of 5 rules acted in a test (40%)" in str(report)
    assert "never: p/languages" in str(report)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("name: t", 1, "tests are a list"),
        (case("verb: allow") + "- {name: u}\n", 2, "missing required field `input`"),
        (case("verb: maybe"), 1, "Invalid enum value 'maybe'"),
        (case("verb: allow", ", mood: good"), 1, "unknown field `mood`"),
        (case("verb: allow") + case("verb: allow"), 2, "is there twice"),
        ("- &a [*a]", 1, "an anchor is not allowed"),
        ("[" * 20, 1, "nested too deeply"),
    ],
)
def test_a_test_that_cannot_be_read_is_a_fault_of_its_line(tmp_path: Path, text: str, line: int, reason: str) -> None:
    (tmp_path / "p.yaml").write_text(RULES)
    (tmp_path / "p_test.yaml").write_text(text)
    [fault] = read_policies(tmp_path).faults
    assert (fault.line, reason in fault.fault) == (line, True)


def test_a_pack_of_which_a_test_fails_is_not_loaded_and_its_tests_are_not_published(tmp_path: Path) -> None:
    test = "- {name: t, input: {text: We open.}, expect: {verb: allow}}\n"
    pack = pack_at(tmp_path, **{"policies/safe_test.yaml": test})
    [fault] = check_pack(pack).faults
    assert (fault.file, fault.line) == ("policies/safe_test.yaml", 1)
    assert "t: expected allow, got abstain" in fault.reason
    (pack / "policies/safe_test.yaml").write_text(test.replace("allow", "abstain"))
    assert [Path(file).name for file in load_pack(pack).policy_files] == ["safe.yaml"]
    assert not check_pack(pack).warnings
    assert [part.path for part in parts_of(pack) if part.kind == "policy"] == ["policy/safe"]


def test_the_kiosk_and_a_new_pack_have_tests_that_cover_every_rule(tmp_path: Path) -> None:
    complete_pack(tmp_path)
    for pack in (KIOSK, tmp_path):
        folder = read_policies(pack)
        report = run_policy_tests(folder, REGIONS)
        assert (report.failed, report.coverage) == ((), 1.0)
        assert len(report.rules) == len([rule for each in folder.policies for rule in list_rules(each)]) > 3


def command(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(policy_command, arguments, input=stdin, standalone_mode=False)


def test_the_command_says_what_is_wrong_what_fails_and_what_is_not_covered(tmp_path: Path) -> None:
    pack = tmp_path / "kiosk"
    shutil.copytree(KIOSK / "policies", pack / "policies")
    assert command("check", str(pack)).return_value == 0
    assert command("test", str(pack), "--cover", "1").return_value == 0
    whole = json.loads(command("test", str(pack / "policies"), "--json").stdout)
    assert (whole["coverage"], len(whole["rules"])) == (1.0, 7)
    test = pack / "policies" / "branch_test.yaml"
    test.write_text(test.read_text().split("- name: what is too unsure")[0])
    assert "never: quayside-branch-v1/confidence" in command("test", str(pack)).stdout
    assert command("test", str(pack), "--cover", "1").return_value == 1
    test.write_text(test.read_text().replace("verb: allow", "verb: block"))
    failed = command("test", str(pack))
    assert (failed.return_value, "expected block, got allow" in failed.stdout) == (1, True)
    (pack / "policies" / "branch.yaml").write_text("policy_id: b\nallow: [everything]\n")
    checked = command("check", str(pack))
    assert (checked.return_value, "branch.yaml:2: everything is nothing" in checked.stdout) == (1, True)
    for named in ("branch.yaml", "branch_test.yaml"):  # under the other policies of the folder too, as in force
        alone = json.loads(command("test", str(KIOSK / "policies" / named), "--json").stdout)
        assert (len(alone["tests"]), len(alone["rules"]), alone["coverage"]) == (8, 7, 1.0)
    with pytest.raises(NoPoliciesError):
        read_policies(tmp_path)


ASKED: dict[str, Any] = {"text": "This will double your savings.", "tenant": "kiosk"}


@pytest.mark.parametrize("form", ["one", "list", "lines"])
def test_decisions_come_in_the_fields_of_a_decision_log(form: str) -> None:
    text = {"one": json.dumps(ASKED), "list": json.dumps([ASKED, ASKED]), "lines": "\n".join([json.dumps(ASKED)] * 2)}
    ran = command("eval", str(KIOSK), "--json", stdin=text[form].encode())
    records = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(records) == (1 if form == "one" else 2)
    for record in records:
        assert set(record) == set(DecisionRecord.__struct_fields__)
        assert record["input"] == ASKED
        assert record["path"] == "tidegate/policy/answer"
        assert set(record["bundles"]) == {"safe-answers-v3", "quayside-branch-v1"}
        assert (record["result"]["verb"], record["result"]["reason"]) == ("block", "policy_block")
        assert record["timestamp"].endswith("Z")
    assert len({record["decision_id"] for record in records}) == 1
    shown = command("eval", str(KIOSK), stdin=text[form].encode()).stdout
    assert "block     safe-answers-v3/speculative_financial_promises" in shown


def test_control_characters_of_an_answer_do_not_reach_the_terminal() -> None:
    given = {**ASKED, "text": "\x1b[2J\u009b1m", "language": "\x1b]0;x\x07"}
    shown = command("eval", str(KIOSK), stdin=json.dumps(given).encode()).stdout
    assert not [mark for mark in shown if not mark.isprintable() and mark != "\n"]


def test_the_id_of_a_decision_is_that_of_its_input_and_policies(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(RULES)
    policies = read_policies(tmp_path).policies

    def decide(text: str, at_s: float, count: int = 1) -> str:
        given = PolicyInput(text=text)
        return record_decision(given, policies[:count], lambda _: (), at_s=at_s, version="1").decision_id

    assert decide("a", 1.0) == decide("a", 2.0)
    assert len({decide("a", 1.0), decide("b", 1.0), decide("a", 1.0, 0)}) == 3


@pytest.mark.parametrize("data", [b"", b"{", b'{"txt": 1}', b"[1]", b"[" * 100_000])
def test_what_is_no_input_is_refused(data: bytes) -> None:
    ran = command("eval", str(KIOSK), stdin=data)
    if data:
        assert isinstance(ran.exception, BadInputError)
    else:
        assert ran.stdout == ""


def test_tests_are_no_policies_of_a_pack_and_what_was_published_is_one_however_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "a.yaml").write_text("policy_id: a\nallow: [grounded_claims]\n")
    (tmp_path / "policies" / "b_test.yaml").write_text("policy_id: b\nblock: [legal_advice]\n")
    made = MadeFiles(*[tmp_path / "none"] * 4)
    assert [each.id for each in PackInForce("kiosk", tmp_path, made).policies] == ["a"]
    assert [each.id for each in PackInForce("kiosk", tmp_path, made, number=1).policies] == ["a", "b"]
