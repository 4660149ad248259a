"""A faulty pack: what is wrong is named all at once, with its file, its line and a way out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.small_pack import GOOD, changed, pack_at
from tidegate.services.packs.findings import PackError, PackFault
from tidegate.services.packs.load import check_pack, load_pack


def only_fault(pack: Path) -> PackFault:
    with pytest.raises(PackError) as caught:
        load_pack(pack)
    assert check_pack(pack).faults == caught.value.faults
    [fault] = caught.value.faults
    assert fault.reason
    assert fault.hint
    assert f"{fault.file}:{fault.line}" in str(caught.value) or not fault.line
    return fault


FAULTS = [
    ("site.toml", "languages", "langauges", "langauges", 0),
    ("site.toml", "[prefilter]", "[prefilter", "TOML", 0),
    ("documents/hours.md", "---\n\nWe", "\nWe", "front matter", 1),
    ("documents/hours.md", "scope: shared", "scope: shop", "scope", 1),
    ("documents/hours.md", "title: Hours", "titel: Hours", "titel", 1),
    ("documents/hours.md", "title: Hours", "title: Hours\ntitle: Days", "duplicate key", 4),
    ("documents/hours.md", "language: en", "language: fr", "fr is not a language", 1),
    ("documents/hours.md", "title: Hours", "title: ' '", "title is empty", 1),
    ("policies/safe.yaml", "grounded_claims", "everything", "everything", 2),
    ("policies/safe.yaml", "allow:", "permit:", "permit", 2),
    ("policies/safe.yaml", "entailment: 0.8", "entailment: 8", "8", 3),
    ("policies/safe.yaml", "policy_id: p1", "policy_id: 1", "policy_id", 1),
    ("policies/safe.yaml", "policy_id: p1", "policy_id: p1\nno_suggestions: [assist, cach]", "cach is no intent", 0),
    (
        "policies/safe.yaml",
        "policy_id: p1",
        "policy_id: p1\nclass_thresholds: {cach: {confidence: 1}}",
        "cach is no",
        0,
    ),
    ("policies/safe.yaml", "policy_id: p1", "policy_id: p1\ngrounded: [assist, cach]", "cach is no intent", 0),
    ("policies/safe.yaml", "policy_id: p1", "policy_id: p1\nresidency: {default: hub, cach: site}", "cach is no", 0),
    ("intents.yaml", "- example number 3", "- Example, number 2!", "stands in", 1),
    ("intents.yaml", "utterances", "utterance", "utterance", 1),
    ("questions.yaml", "[board]", "[nobody]", "cites nobody", 6),
    ("questions.yaml", "kind: hub", "kind: answerable", "of scope hub", 6),
    ("questions.yaml", "[Ann Lee]", "[Ann Leigh]", "Ann Leigh", 6),
    ("questions.yaml", "[Ann Lee]", "['Ann Lee|']", "empty", 6),
    ("questions.yaml", "[Ann Lee]", "[]", "of kind hub", 6),
    ("questions.yaml", "[Jo Day]", "[Jo Doe]", "Jo Doe", 11),
    ("questions.yaml", "  personal: [Jo Day]\n", "", "no personal values", 11),
    ("questions.yaml", "language: pl", "language: de", "in de", 17),
    ("questions.yaml", "kind: hub", "kind: hub\n  language: it", "in it", 6),
    ("questions.yaml", "id: q2", "id: q1", "q1 is taken", 6),
    ("questions.yaml", "facts: ['09:30']", "facts: [25]", "int", 1),
    ("questions.yaml", "kind: hub", "kind: hub\n  kind: hub", "duplicate key", 9),
    ("questions.yaml", "When do you open?", "example NUMBER 3.", "example NUMBER 3.", 1),
    ("questions.yaml", "When do you open?", "is it open, at ten", "is it open, at ten", 1),
    ("questions.yaml", "Who is the chair?", "When do you open", "When do you open", 6),
    ("calibration.yaml", "[hours]", "[minutes]", "minutes", 1),
    ("calibration.yaml", "What is the moon made of?", "example number 1", "example number 1", 3),
    ("calibration.yaml", "made of?", "made of?\n  language: it", "it is not a language", 3),
]


@pytest.mark.parametrize(("name", "old", "new", "stated", "line"), FAULTS)
def test_a_fault_names_its_file_its_line_and_a_way_out(
    tmp_path: Path, name: str, old: str, new: str, stated: str, line: int
) -> None:
    fault = only_fault(changed(tmp_path, name, old, new))
    assert (fault.file, fault.line) == (name, line)
    assert stated in fault.reason


def test_an_empty_document_is_a_fault_and_so_is_the_fact_that_it_no_longer_states(tmp_path: Path) -> None:
    report = check_pack(changed(tmp_path, "documents/far/board.md", "The chair is Ann Lee.", ""))
    assert [(fault.file, fault.line) for fault in report.faults] == [
        ("documents/far/board.md", 1),
        ("questions.yaml", 6),
    ]


def test_two_documents_of_one_id_are_a_fault_that_names_both(tmp_path: Path) -> None:
    fault = only_fault(pack_at(tmp_path, **{"documents/more.md": GOOD["documents/hours.md"]}))
    assert fault.file == "documents/more.md"
    assert "documents/hours.md" in fault.reason


def test_bytes_that_are_not_utf_8_are_a_fault_of_their_file(tmp_path: Path) -> None:
    pack = pack_at(tmp_path)
    (pack / "calibration.yaml").write_bytes(b"- text: \xff\n")
    assert only_fault(pack).file == "calibration.yaml"


def test_a_missing_file_is_a_fault_and_a_missing_folder_is_one_alone(tmp_path: Path) -> None:
    pack = pack_at(tmp_path)
    (pack / "questions.yaml").unlink()
    assert only_fault(pack).file == "questions.yaml"
    with pytest.raises(PackError, match="no such folder"):
        check_pack(tmp_path / "nothing")


def test_a_pack_without_a_policy_or_without_a_document_cannot_be_used(tmp_path: Path) -> None:
    pack = pack_at(tmp_path)
    (pack / "policies/safe.yaml").unlink()
    assert only_fault(pack).file == "policies"
    shutil.rmtree(pack / "documents")
    assert {"documents", "policies"} <= {fault.file for fault in check_pack(pack).faults}


def test_two_files_with_one_policy_are_a_fault_of_the_second(tmp_path: Path) -> None:
    pack = pack_at(tmp_path)
    shutil.copy(pack / "policies/safe.yaml", pack / "policies/save.yml")
    fault = only_fault(pack)
    assert (fault.file, "policies/safe.yaml" in fault.reason) == ("policies/save.yml", True)


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    pack = pack_at(
        tmp_path,
        **{
            "site.toml": "sites = 3\n[router]\nk = 0\n",
            "policies/safe.yaml": "policy_id: p1\nallow: [everything]\nabstain_thresholds: {luck: 1}\n",
            "intents.yaml": "- id: Hours\n  utterances: [a]\n- id: b\n  utterances: 7\n",
            "questions.yaml": "- id: q1\n  text: What?\n  kind: hub\n  documents: [x, y]\n  facts: [z]\n- 7\n",
            "calibration.yaml": "[",
        },
    )
    assert sorted((fault.file, fault.line) for fault in check_pack(pack).faults) == [
        ("calibration.yaml", 1),
        ("intents.yaml", 1),
        ("intents.yaml", 3),
        ("policies/safe.yaml", 2),
        ("policies/safe.yaml", 3),
        ("questions.yaml", 1),
        ("questions.yaml", 1),
        ("questions.yaml", 6),
        ("site.toml", 0),
        ("site.toml", 0),
    ]


def test_few_utterances_are_a_warning_and_the_pack_can_be_used(tmp_path: Path) -> None:
    pack = changed(tmp_path, "intents.yaml", "    - example number 7", "")
    load_pack(pack)
    [warning] = check_pack(pack).warnings
    assert (warning.file, warning.line) == ("intents.yaml", 1)
    assert "7 utterance(s)" in warning.reason


BOMB = "\n".join(["- &a0 [" + "x," * 9 + "]", *(f"- &a{n} [" + f"*a{n - 1}," * 9 + "]" for n in range(1, 9))])


@pytest.mark.parametrize(
    ("name", "text", "line", "stated"),
    [
        ("collections.yaml", BOMB, 6, "aliases repeat"),
        ("thesaurus.yaml", "- " * 5_000, 1, "nested too deeply"),
        ("calibration.yaml", "- text: 2026-02-30", 0, "day is out of range"),
        ("policies/more.yaml", f"policy_id: p2\nallow:\n{BOMB}", 3, "an anchor is not allowed"),
        ("documents/note.md", "---\nid: &a [*a]\n---\n\nNo.\n", 2, "stands within itself"),
    ],
)
def test_yaml_that_is_made_to_be_endless_is_a_fault_like_any_other(
    tmp_path: Path, name: str, text: str, line: int, stated: str
) -> None:
    found = [fault for fault in check_pack(pack_at(tmp_path, **{name: text})).faults if fault.file == name]
    assert [(fault.line, stated in fault.reason) for fault in found] == [(line, True)]
