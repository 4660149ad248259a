"""Packs: what is wrong is named all at once, and the shipped kiosk has nothing wrong with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.pack import Kind, LabelledQuestion
from services.pack_rules import THRESHOLDS, VERBS, states
from services.packs import BadPack, Fault, check_pack, judge, load_pack, read_document
from services.policy import rules

KIOSK = Path(__file__).parents[2] / "infra" / "packs" / "kiosk"
UTTERANCES = "\n".join(f"    - example number {number}" for number in range(8))
GOOD = {
    "site.toml": '[prefilter]\nlanguages = ["en", "de"]\n',
    "documents/hours.md": "---\nid: hours\ntitle: Hours\nlanguage: en\nscope: site\n---\n\nWe open at 09:30.\n",
    "documents/far/board.md": "---\nid: board\ntitle: Board\nlanguage: en\nscope: hub\n---\n\nThe chair is Ann Lee.\n",
    "policies/safe.yaml": "policy_id: p1\nallow: [grounded_claims]\nabstain_thresholds: {entailment: 0.8}\n",
    "intents.yaml": f"- id: hours\n  utterances:\n{UTTERANCES}\n",
    "questions.yaml": (
        "- id: q1\n  text: When do you open?\n  kind: answerable\n  documents: [hours]\n  facts: ['09:30']\n"
        "- id: q2\n  text: Who is the chair?\n  kind: hub\n  documents: [board]\n  facts: [Ann Lee]\n"
        "- id: q3\n  text: I am Jo Day, when do you open?\n  kind: personal\n  documents: [hours]\n"
        "  facts: ['09:30']\n  personal: [Jo Day]\n"
        "- id: q4\n  text: Czy jest otwarte?\n  kind: unsupported_language\n  language: pl\n"
    ),
    "calibration.yaml": "- text: Is it open at ten?\n  documents: [hours]\n- text: What is the moon made of?\n",
}


def pack_at(path: Path, **changed: str) -> Path:
    """A good small pack in a new folder, with some files replaced."""
    for name, text in {**GOOD, **changed}.items():
        file = path / "small" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return path / "small"


def changed(path: Path, name: str, old: str, new: str) -> Path:
    assert old in GOOD[name]
    return pack_at(path, **{name: GOOD[name].replace(old, new, 1)})


def only_fault(pack: Path) -> Fault:
    with pytest.raises(BadPack) as caught:
        load_pack(pack)
    assert check_pack(pack).faults == caught.value.faults
    [fault] = caught.value.faults
    assert fault.reason
    assert fault.hint
    assert f"{fault.file}:{fault.line}" in str(caught.value) or not fault.line
    return fault


def test_a_good_pack_is_read_whole(tmp_path: Path) -> None:
    pack = load_pack(pack_at(tmp_path))
    assert pack.name == "small"
    assert [(document.id, document.scope, document.text) for document in pack.documents] == [
        ("board", "hub", "The chair is Ann Lee."),
        ("hours", "site", "We open at 09:30."),
    ]
    assert [intent.id for intent in pack.intents] == ["hours"]
    assert [question.id for question in pack.questions] == ["q1", "q2", "q3", "q4"]
    assert pack.calibration[0].documents == ("hours",)
    assert [Path(file).name for file in pack.policy_files] == ["safe.yaml"]


def test_the_version_of_a_pack_changes_with_every_file_and_not_with_its_place(tmp_path: Path) -> None:
    here = load_pack(pack_at(tmp_path / "a")).version
    assert load_pack(pack_at(tmp_path / "b")).version == here
    versions = {here}
    for name, text in GOOD.items():
        comment = "\n" if name.endswith(".md") else "\n# a remark\n"
        versions.add(load_pack(pack_at(tmp_path / name.replace("/", "-"), **{name: text + comment})).version)
    moved = pack_at(tmp_path / "c")
    (moved / "documents/hours.md").rename(moved / "documents/times.md")
    versions.add(load_pack(moved).version)
    assert len(versions) == len(GOOD) + 2


def test_the_version_of_a_document_is_that_of_its_text_alone(tmp_path: Path) -> None:
    before, after = (
        read_document(changed(tmp_path / name, "documents/hours.md", "title: Hours", f"title: {name}") / file)
        for name, file in (("a", "documents/hours.md"), ("b", "documents/hours.md"))
    )
    other = read_document(changed(tmp_path / "c", "documents/hours.md", "09:30", "09:31") / "documents/hours.md")
    assert before.version == after.version
    assert before.version != other.version


def test_an_editor_s_hidden_file_is_no_part_of_a_pack(tmp_path: Path) -> None:
    pack = pack_at(tmp_path)
    version = load_pack(pack).version
    (pack / "documents" / ".hours.md.swp").write_bytes(b"\xff")
    assert load_pack(pack).version == version


FAULTS = [
    ("site.toml", "languages", "langauges", "langauges", 0),
    ("site.toml", "[prefilter]", "[prefilter", "TOML", 0),
    ("documents/hours.md", "---\n\nWe", "\nWe", "front matter", 1),
    ("documents/hours.md", "scope: site", "scope: shop", "scope", 1),
    ("documents/hours.md", "title: Hours", "titel: Hours", "titel", 1),
    ("documents/hours.md", "title: Hours", "title: Hours\ntitle: Days", "duplicate key", 4),
    ("documents/hours.md", "language: en", "language: fr", "fr is not a language", 1),
    ("documents/hours.md", "title: Hours", "title: ' '", "title is empty", 1),
    ("policies/safe.yaml", "grounded_claims", "everything", "everything", 0),
    ("policies/safe.yaml", "allow:", "permit:", "permit", 0),
    ("policies/safe.yaml", "entailment: 0.8", "entailment: 8", "8", 0),
    ("policies/safe.yaml", "policy_id: p1", "policy_id: 1", "policy_id", 1),
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


@pytest.mark.parametrize(("name", "old", "new", "said", "line"), FAULTS)
def test_a_fault_names_its_file_its_line_and_a_way_out(
    tmp_path: Path, name: str, old: str, new: str, said: str, line: int
) -> None:
    fault = only_fault(changed(tmp_path, name, old, new))
    assert (fault.file, fault.line) == (name, line)
    assert said in fault.reason


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
    (pack / "calibration.yaml").unlink()
    assert only_fault(pack).file == "calibration.yaml"
    with pytest.raises(BadPack, match="no such folder"):
        check_pack(tmp_path / "nothing")


def test_a_pack_without_a_policy_or_without_a_document_cannot_be_used(tmp_path: Path) -> None:
    pack = pack_at(tmp_path)
    (pack / "policies/safe.yaml").unlink()
    assert only_fault(pack).file == "policies"
    shutil.rmtree(pack / "documents")
    assert {"documents", "policies"} <= {fault.file for fault in check_pack(pack).faults}


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
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
        ("policies/safe.yaml", 0),
        ("policies/safe.yaml", 0),
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


def test_a_report_counts_what_there_is_and_can_be_sent_as_json(tmp_path: Path) -> None:
    report = check_pack(pack_at(tmp_path))
    assert report.counts == {
        "documents": 2,
        "intents": 1,
        "utterances": 8,
        "questions": 4,
        "calibration": 2,
        "policies": 1,
        "documents.hub": 1,
        "documents.site": 1,
        "documents.en": 2,
        "questions.answerable": 1,
        "questions.hub": 1,
        "questions.personal": 1,
        "questions.unsupported_language": 1,
    }
    assert msgspec.json.decode(msgspec.json.encode(report), type=type(report)) == report
    assert str(report).endswith("0 faults, 0 warnings")


def test_a_pack_knows_the_words_that_a_policy_knows() -> None:
    assert {verb: set(known) for verb, known in VERBS.items()} == {
        "allow": set(rules.ALLOW),
        "transform": set(rules.TRANSFORM),
        "block": set(rules.BLOCK),
    }
    assert set(THRESHOLDS) == set(rules.THRESHOLDS)


STATED = [
    ("The fee is £5.", "£5", True),
    ("The fee is £50.", "£5", False),
    ("The fee is £5.75.", "£5", False),
    ("The fee is £15.", "5", False),
    ("The fee is 1,005.", "005", False),
    ("From 14:00\n to\u00a016:00", "14:00 TO 16:00", True),
    ("It takes 20\u202f000 £", "20 000 £", True),
    ("by 18:00", "6 pm|18:00", True),
    ("by 17:00", "6 pm|18:00", False),
    ("STRASSE", "Straße", True),
    ("a.b", "a+b", False),
]


@pytest.mark.parametrize(("text", "fact", "said"), STATED)
def test_a_fact_is_said_whatever_the_case_and_the_white_space_but_never_by_a_longer_number(
    text: str, fact: str, said: bool
) -> None:
    assert states(text, fact) is said


@given(st.integers(0, 99_999), st.integers(0, 99_999))
def test_a_number_is_said_by_itself_and_by_no_other_number(one: int, other: int) -> None:
    assert states(f"You pay £{one}, at once.", f"£{other}") == (one == other)


JUDGED: list[tuple[Kind, str, str, tuple[str, ...], bool]] = [
    ("answerable", "answered", "At 09:30 and £5", ("a",), True),
    ("paraphrased", "answered", "At 09:30 and £5", ("x", "b"), True),
    ("language", "answered", "At 09:30 and £5", ("x",), False),
    ("personal", "answered", "At 09:30", ("a",), False),
    ("hub", "answered", "At 09:30 and £5", (), False),
    ("answerable", "abstained", "At 09:30 and £5", ("a",), False),
    ("answerable", "withheld", "At 09:30 and £5", ("a",), False),
    ("out_of_scope", "abstained", "", (), True),
    ("out_of_scope", "withheld", "", (), False),
    ("out_of_scope", "answered", "At 09:30 and £5", ("a",), False),
    ("unsafe", "withheld", "", (), True),
    ("unsafe", "abstained", "", (), False),
    ("unsupported_language", "withheld", "", (), True),
    ("unsupported_language", "answered", "At 09:30 and £5", ("a",), False),
]


@pytest.mark.parametrize(("kind", "outcome", "text", "cited", "right"), JUDGED)
def test_what_is_right_depends_on_the_kind_of_question(
    kind: Kind, outcome: str, text: str, cited: tuple[str, ...], right: bool
) -> None:
    question = LabelledQuestion(id="q", text="?", kind=kind, documents=("a", "b"), facts=("09:30", "£5"))
    assert judge(question, outcome, text, cited) is right


def test_the_kiosk_has_no_fault_and_is_as_rich_as_it_says() -> None:
    report = check_pack(KIOSK)
    assert (report.faults, report.warnings) == ((), ())
    least = {
        "documents.site": 60,
        "documents.hub": 12,
        "documents.de": 6,
        "documents.fr": 4,
        "documents.es": 4,
        "intents": 14,
        "questions": 170,
        "questions.answerable": 70,
        "questions.paraphrased": 30,
        "questions.language": 20,
        "questions.hub": 16,
        "questions.out_of_scope": 24,
        "questions.personal": 16,
        "questions.unsafe": 12,
        "questions.unsupported_language": 6,
        "calibration": 120,
        "policies": 2,
    }
    assert {name: report.counts[name] for name in least if report.counts[name] < least[name]} == {}


def test_a_copy_of_the_kiosk_is_the_same_pack(tmp_path: Path) -> None:
    shutil.copytree(KIOSK, tmp_path / "kiosk")
    assert load_pack(tmp_path / "kiosk").version == load_pack(KIOSK).version
