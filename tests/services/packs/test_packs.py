"""Packs: read whole, known by their version, judged by their kinds of question; the shipped kiosk is without fault."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.services.privacy.personal_samples import DETECTOR
from tests.support.paths import KIOSK
from tests.support.small_pack import GOOD, changed, pack_at, read_document
from tidegate.schemas.pack import LabelledQuestion, QuestionKind
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.knowledge.reader.fit import digest_questions
from tidegate.services.packs.correctness import judge, states
from tidegate.services.packs.load import check_pack, load_pack


def test_a_good_pack_is_read_whole(tmp_path: Path) -> None:
    pack = load_pack(pack_at(tmp_path))
    assert pack.name == "small"
    assert [(document.id, document.scope, document.text) for document in pack.documents] == [
        ("board", "hub", "The chair is Ann Lee."),
        ("hours", "shared", "We open at 09:30."),
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
        "documents.shared": 1,
        "documents.en": 2,
        "questions.answerable": 1,
        "questions.hub": 1,
        "questions.personal": 1,
        "questions.unsupported_language": 1,
    }
    assert msgspec.json.decode(msgspec.json.encode(report), type=type(report)) == report
    assert str(report).endswith("0 faults, 0 warnings")


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


@pytest.mark.parametrize(("text", "fact", "stated"), STATED)
def test_a_fact_is_stated_whatever_the_case_and_the_white_space_but_never_by_a_longer_number(
    text: str, fact: str, stated: bool
) -> None:
    assert states(text, fact) is stated


@given(st.integers(0, 99_999), st.integers(0, 99_999))
def test_a_number_is_stated_by_itself_and_by_no_other_number(one: int, other: int) -> None:
    assert states(f"You pay £{one}, at once.", f"£{other}") == (one == other)


JUDGED: list[tuple[QuestionKind, str, str, tuple[str, ...], bool]] = [
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
    ("distress", "withheld", "", (), False),
    ("distress", "answered", "Call now.", (), True),
    ("smalltalk", "answered", "At 09:30 and £5", ("a",), False),
    ("unsupported_language", "withheld", "", (), True),
    ("unsupported_language", "answered", "At 09:30 and £5", ("a",), False),
]


@pytest.mark.parametrize(("kind", "outcome", "text", "cited", "right"), JUDGED)
def test_what_is_right_depends_on_the_kind_of_question(
    kind: QuestionKind, outcome: str, text: str, cited: tuple[str, ...], right: bool
) -> None:
    question = LabelledQuestion(id="q", text="?", kind=kind, documents=("a", "b"), facts=("09:30", "£5"))
    assert judge(question, outcome, text, cited) is right


def test_the_kiosk_has_no_fault_and_is_as_rich_as_it_says() -> None:
    report = check_pack(KIOSK)
    assert (report.faults, report.warnings) == ((), ())
    least = {
        "documents.shared": 60,
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
        "questions.unsafe": 11,
        "questions.distress": 1,
        "questions.unsupported_language": 6,
        "calibration": 120,
        "policies": 2,
    }
    assert {name: report.counts[name] for name in least if report.counts[name] < least[name]} == {}


def test_a_copy_of_the_kiosk_is_the_same_pack(tmp_path: Path) -> None:
    shutil.copytree(KIOSK, tmp_path / "kiosk")
    assert load_pack(tmp_path / "kiosk").version == load_pack(KIOSK).version


def test_the_kiosk_keeps_a_confidence_that_was_fitted_on_its_questions_as_they_are() -> None:
    """`tidegate pack calibrate infra/packs/kiosk --keep` fits it anew."""
    pack = load_pack(KIOSK)
    kept = [Calibration.load(path) for path in sorted(KIOSK.glob("artefacts/*/confidence/*.json"))]
    assert len({calibration.made_from for calibration in kept}) == 2, "a site's and the hub's"
    assert {calibration.made_from.split("/")[0] for calibration in kept} == {digest_questions(pack)}


def test_the_kiosk_says_of_every_document_with_personal_data_that_anybody_may_have_it() -> None:
    marked = {each.id for each in load_pack(KIOSK).documents if each.is_public_contact}
    found = {each.id for each in load_pack(KIOSK).documents if DETECTOR.find(each.text)}
    assert found
    assert found <= marked


def test_a_pattern_of_the_pack_that_is_none_is_a_fault(tmp_path: Path) -> None:
    shutil.copytree(KIOSK, tmp_path / "kiosk")
    with (tmp_path / "kiosk" / "site.toml").open("a") as file:
        file.write('\n[prefilter.patterns]\nmeter = "MTR-[0-9]{4}"\nstaff = "(?=a)b"\n')
    [fault] = check_pack(tmp_path / "kiosk").faults
    assert "staff" in str(fault)
    assert "perl operator" in str(fault)
