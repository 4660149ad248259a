"""Documents as people have them: a folder of plain Markdown becomes a pack that answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.corpus import Letters
from tests.support.paths import KIOSK
from tests.support.small_pack import pack_at, read_document
from tidegate.services.cli.pack import pack as pack_command
from tidegate.services.knowledge.index.packing import prepare_index
from tidegate.services.knowledge.intent_classifier import train
from tidegate.services.knowledge.reader import fit
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.packs.findings import PackError
from tidegate.services.packs.load import check_pack, load_pack
from tidegate.services.packs.new import complete_pack

PARKING = """# Parking at the museum

Parking costs £4 an hour. The first 20 minutes are free.

## Bicycles

Bicycles are parked without charge in the yard, behind the blue gate.
"""
ORARI = """# Orari

Il museo è aperto dal martedì alla domenica dalle dieci alle diciotto. Il lunedì il museo resta chiuso, salvo che sia un
giorno festivo. Le biglietterie chiudono mezz'ora prima. I bambini sotto i sei anni entrano gratis, e i gruppi devono
prenotare almeno una settimana prima della visita.
"""
GERMAN = "Das Museum ist am Montag geschlossen, außer wenn der Montag ein Feiertag ist.\n"
PLAIN = {
    "Parking.md": PARKING,
    "guides/opening times.MD": "---\ntags: [a, b]\nlang: en-GB\n---\n\nWe open at ten.\n",
    "guides/Schließtage.markdown": GERMAN,
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_a_document_leaves_out_has_a_default(tmp_path: Path) -> None:
    write(tmp_path, PLAIN)
    found = [read_document(tmp_path / name) for name in PLAIN]
    assert [(d.id, d.title, d.language, d.scope) for d in found] == [
        ("parking", "Parking at the museum", "en", "shared"),
        ("opening-times", "Opening times", "en", "shared"),
        ("schliesstage", "Schließtage", "de", "shared"),
    ]
    assert found[2].text == GERMAN.strip()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Über uns.md", "uber-uns"),
        ("U\u0308ber uns.md", "uber-uns"),
        ("README.md", "readme"),
        ("--.md", None),
        ("ωράριο.md", None),
        ("x" * 90 + ".md", "x" * 64),
    ],
)
def test_an_id_is_made_of_any_file_name(tmp_path: Path, name: str, expected: str | None) -> None:
    document = read_document(write(tmp_path, {name: "Some text."}) / name)
    assert document.id == expected if expected else document.id.startswith("document-")


def test_a_folder_of_plain_markdown_becomes_a_pack_and_nothing_that_exists_is_touched(tmp_path: Path) -> None:
    write(tmp_path, {**PLAIN, "guides/orari.md": ORARI, "README.md": "Made by us.\n", "deep/README.md": "Deep.\n"})
    before = contents(tmp_path)
    made = complete_pack(tmp_path)
    assert made.report.faults == ()
    assert set(made.written) == {
        "site.toml",
        "intents.yaml",
        "questions.yaml",
        "policies/default.yaml",
        "policies/default_test.yaml",
    }
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert set(after) == {*before, *made.written}
    documents = {document.id: document for document in load_pack(tmp_path).documents}
    assert set(documents) == {"parking", "opening-times", "schliesstage", "orari", "readme", "deep-readme"}
    assert documents["orari"].language == "it"
    assert complete_pack(tmp_path).written == ()
    assert contents(tmp_path) == after


def test_what_a_pack_has_is_kept_and_only_what_it_lacks_is_written(tmp_path: Path) -> None:
    pack = pack_at(tmp_path)
    (pack / "questions.yaml").unlink()
    (pack / "calibration.yaml").unlink()
    made = complete_pack(pack)
    assert (made.written, made.report.faults) == (("questions.yaml",), ())
    assert load_pack(pack).calibration == ()
    assert complete_pack(KIOSK).written == ()


def test_a_folder_without_documents_gets_one_to_start_from(tmp_path: Path) -> None:
    made = complete_pack(tmp_path / "new")
    assert "documents/example.md" in made.written
    assert made.report.faults == ()


def test_a_new_pack_answers_questions_and_knows_what_it_does_not_know(tmp_path: Path) -> None:
    write(tmp_path / "museum", {"parking.md": PARKING, "closed.md": GERMAN})
    complete_pack(tmp_path / "museum")
    pack = load_pack(tmp_path / "museum")
    units = UnitReader.load(Path(".models"))
    embedder = units.embedder
    index = prepare_index(pack, "site", embedder, tmp_path / "index")
    reader = Reader(units, fit.prepare_calibration(pack, index, units, tmp_path / "calibration.json"))

    def answer(text: str, language: str = "en") -> tuple[str, float]:
        words = index.rewrite_query(text, language)
        passages = index.search(words, embedder.embed(words), 8, language)
        found = reader.rank_spans(text, language, passages, index).answer
        return found.text, found.confidence

    for text, language, stated in (
        ("What does parking cost?", "en", "£4 an hour"),
        ("Where can I leave my bicycle?", "en", "blue gate"),
        ("Wann ist das Museum geschlossen?", "de", "Montag"),
    ):
        assert stated in answer(text, language)[0]
        assert answer(text, language)[1] > answer("How tall is Mount Everest?")[1]


def test_the_shipped_intents_hold_more_of_what_is_harmless_than_of_what_is_not(tmp_path: Path) -> None:
    """With fewer, every seventh harmless question was taken for an unsafe one (measured on the kiosk's questions)."""
    complete_pack(tmp_path)
    intents = load_pack(tmp_path).intents
    harmless = sum(len(intent.utterances) for intent in intents if intent.verdict == "serve")
    assert harmless >= sum(len(intent.utterances) for intent in intents if intent.verdict != "serve")
    assert {"unsafe", "out_of_scope"} <= {intent.verdict for intent in intents}


def test_the_command_prints_what_it_wrote(tmp_path: Path) -> None:
    write(tmp_path / "a", PLAIN)
    plain = CliRunner().invoke(pack_command, ["new", str(tmp_path / "a")], standalone_mode=False)
    assert plain.return_value == 0
    assert "wrote questions.yaml" in plain.output
    again = CliRunner().invoke(pack_command, ["new", str(tmp_path / "a"), "--json"], standalone_mode=False)
    made = json.loads(again.output)
    assert (made["written"], made["report"]["faults"]) == ([], [])
    (tmp_path / "a" / "empty.md").touch()
    faulty = CliRunner().invoke(pack_command, ["new", str(tmp_path / "a")], standalone_mode=False)
    assert faulty.return_value == 1
    assert "empty.md:1: the document is empty" in faulty.output


@pytest.mark.parametrize(
    "text", ["", "\n \n", "---\nid: a\n---", "---\ntitle: A\n---\n\n \t\n", "---\n---\n", "---\n# none\n---\n"]
)
def test_an_empty_document_is_refused_in_every_form(tmp_path: Path, text: str) -> None:
    with pytest.raises(PackError, match="empty"):
        read_document(write(tmp_path, {"a.md": text}) / "a.md")


@pytest.mark.parametrize(
    ("front", "reason"),
    [
        ("+++\ntitle = 'A'\n+++\n", "TOML"),
        ("---\ntitle: A\n", "does not end"),
        ("---\n- a\n---\n", "list"),
        ("---\nscop: hub\n---\n", "scop"),
        ("---\nid: ../x\n---\n", "id"),
        ("---\nid: Hours\n---\n", "id"),
        ("---\nlanguage: english\n---\n", "language"),
    ],
)
def test_front_matter_that_would_be_misread_is_a_fault(tmp_path: Path, front: str, reason: str) -> None:
    with pytest.raises(PackError, match=reason):
        read_document(write(tmp_path, {"a.md": f"{front}\nText.\n"}) / "a.md")


@pytest.mark.parametrize(
    "names",
    [
        ("hours.md", "Hours.md"),
        ("\u00fcber.md", "u\u0308ber.md"),
        ("a b.md", "a-b.md"),
    ],
)
def test_names_that_differ_only_in_case_or_spelling_are_one_id_and_refused(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    pack = pack_at(tmp_path, **{f"documents/x/{name}": f"Text of {name}." for name in names})
    [fault] = [fault for fault in check_pack(pack).faults if fault.file.startswith("documents/x")]
    assert "is taken by documents/x" in fault.reason
    assert fault.hint


def test_every_file_that_is_not_read_is_named(tmp_path: Path) -> None:
    unread = ["documents/guide.pdf", "documents/prices.xls", "documents/page.svg", "documents/far/notes.rtf"]
    unread += ["question.yaml", "policies/old.yml.bak", "LICENSE"]
    read = ["documents/note.markdown", "documents/UPPER.MD", "policies/more.yml"]
    pack = pack_at(tmp_path, **dict.fromkeys(unread, "x"), **dict.fromkeys(read[:2], "Some text."))
    (pack / read[2]).write_text("policy_id: p2\nallow: [grounded_claims]\n")
    (pack / "documents/gone.md").symlink_to(pack / "nothing.md")
    (pack / "documents/linked").symlink_to(tmp_path)
    report = check_pack(pack)
    assert report.faults == ()
    assert {w.file for w in report.warnings} == {*unread, "documents/gone.md", "documents/linked"}
    assert all(warning.hint for warning in report.warnings)
    assert {"note", "upper"} <= {document.id for document in load_pack(pack).documents}


HUB = "---\nid: hours\nscope: hub\n---\n\nWe open at 09:30.\n"


@pytest.mark.parametrize(
    ("changed", "file", "reason"),
    [
        ({"calibration.yaml": ""}, "calibration.yaml", "no questions"),
        ({"calibration.yaml": "[]"}, "calibration.yaml", "no questions"),
        ({"calibration.yaml": "- text: Moon?\n"}, "calibration.yaml", "a document that a site holds"),
        ({"calibration.yaml": "- text: Open?\n  documents: [hours]\n"}, "calibration.yaml", "without documents"),
        (
            {"calibration.yaml": "- text: A?\n- text: Chair?\n  documents: [board]\n"},
            "calibration.yaml",
            "a site holds",
        ),
        ({"documents/hours.md": HUB}, "documents", "scope hub"),
        ({"intents.yaml": ""}, "intents.yaml", "no intents"),
    ],
)
def test_a_pack_that_could_not_be_prepared_is_faulty(
    tmp_path: Path, changed: dict[str, str], file: str, reason: str
) -> None:
    faults = [fault for fault in check_pack(pack_at(tmp_path, **changed)).faults if fault.file == file]
    assert any(reason in fault.reason for fault in faults)
    assert all(fault.hint for fault in faults)


def test_a_pack_without_questions_or_with_bare_headings_is_warned_of(tmp_path: Path) -> None:
    report = check_pack(pack_at(tmp_path, **{"questions.yaml": "[]", "documents/bare.md": "# Soon\n"}))
    assert report.faults == ()
    assert [warning.file for warning in report.warnings] == ["documents/bare.md", "questions.yaml"]


def test_one_intent_is_enough_beside_documents(tmp_path: Path) -> None:
    pack = load_pack(pack_at(tmp_path))
    assert train(pack.intents, Letters(), ["We open at 09:30.", "The chair is Ann Lee."]).ids == ("hours",)
