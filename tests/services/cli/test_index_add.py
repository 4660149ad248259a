"""`tidegate index add` takes files and folders as people have them, and an answer from them names its page."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.support.office_files import heading, page_break, paragraph, pdf, running, scan, table
from tests.support.paths import MODELS
from tidegate.services.cli import main
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.calibration import SHIPPED
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.unit_reader import UnitReader

LOCKERS = (
    heading("Safe deposit lockers"),
    paragraph("Lockers are in the cellar of the branch."),
    page_break(),
    paragraph("A lost locker key is replaced for £85 within ten working days."),
    page_break(),
    heading("Rent of a locker"),
    table([("Size", "Yearly rent"), ("small", "£40"), ("medium", "£61")]),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDEGATE_STATE_DIR", "state")
    monkeypatch.setenv("TIDEGATE_MODELS_DIR", str(MODELS))
    (tmp_path / "mine" / "sub").mkdir(parents=True)
    (tmp_path / "mine" / "lockers.pdf").write_bytes(pdf(*LOCKERS, decorate=running))
    (tmp_path / "mine" / "sub" / "umbrella.pdf").write_bytes(
        pdf(paragraph("An umbrella that is not returned costs £14."))
    )
    return tmp_path


def called(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def added(capsys: pytest.CaptureFixture[str]) -> dict[str, list[dict[str, object]]]:
    return msgspec.json.decode(capsys.readouterr().out, type=dict[str, list[dict[str, object]]])


@pytest.mark.parametrize(
    ("question", "document", "fact", "page"),
    [
        ("What does a lost locker key cost?", "lockers", "£85", 2),
        ("What is the yearly rent of a medium locker?", "lockers", "£61", 3),
        ("What does an umbrella cost that is not returned?", "umbrella", "£14", 1),
    ],
)
def test_a_folder_of_pdfs_is_answered_from_with_the_page(
    folder: Path, question: str, document: str, fact: str, page: int
) -> None:
    assert called("index", "add", "mine") == 0
    units = UnitReader.load(MODELS)
    embedder = units.embedder
    index = HybridIndex.open(folder / "state" / "site1" / "index" / "kiosk", embedder)
    passages = index.search(question, embedder.embed(question), 4, "en")
    answer = Reader(units, SHIPPED).rank_spans(question, "en", passages, index).answer
    assert fact in answer.text
    cited = next(citation for citation in answer.citations if fact in citation.quote)
    assert (cited.document_id, cited.page) == (document, page)


def test_what_was_added_and_what_was_not_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine" / "scan.pdf").write_bytes(pdf(scan(folder)))
    assert called("index", "add", "mine", "--json") == 1
    found = added(capsys)
    assert [(row["id"], row["pages"]) for row in found["documents"]] == [("lockers", 3), ("umbrella", 1)]
    [note] = found["notes"]
    assert note["file"] == "scan.pdf"
    assert "it holds no text" in str(note["reason"])
    assert called("index", "status", "--json") == 0


def test_a_file_that_is_named_twice_is_one_document(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("index", "add", "mine", "mine/lockers.pdf", "--json") == 0
    assert len(added(capsys)["documents"]) == 2
    assert folder.exists()
