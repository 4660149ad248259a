"""Packs take documents of any kind that is read; one that is not is named, and the others are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.office_files import heading, page_break, paragraph, pdf, scan, word
from tests.support.small_pack import pack_at
from tidegate.services.packs.load import check_pack, identify_pack, load_pack
from tidegate.services.packs.new import NoDocumentsError, complete_pack, pack_of_documents


def lockers() -> bytes:
    return pdf(heading("Lockers"), paragraph("In the cellar."), page_break(), paragraph("A lost key costs £85."))


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_documents_of_any_kind_are_documents_of_a_pack(tmp_path: Path) -> None:
    pack = pack_at(
        tmp_path, **{"documents/prices.csv": "Service,Fee\ncard,£11\n", "documents/page.html": "<p>Hello.</p>"}
    )
    (pack / "documents" / "lockers.pdf").write_bytes(lockers())
    (pack / "documents" / "old.txt").write_bytes(
        "Die Gebühr beträgt zwölf Euro am Schalter der Filiale.".encode("cp1252")
    )
    found = {document.id: document for document in load_pack(pack).documents}
    assert found.keys() == {"hours", "board", "prices", "page", "lockers", "old"}
    document = found["lockers"]
    assert (document.title, document.language, document.scope) == ("Lockers", "en", "shared")
    assert document.text[document.page_starts[1] :] == "A lost key costs £85."
    assert "Gebühr" in found["old"].text
    assert found["old"].language == "de"


def test_characters_that_nobody_sees_are_in_no_document(tmp_path: Path) -> None:
    tags = "".join(chr(0xE0000 + ord(letter)) for letter in "free")
    pack = pack_at(tmp_path, **{"documents/fee.md": f"# Fee\n\nIt is \u202e5\u202c euros.{tags}\n"})
    [document] = [each for each in load_pack(pack).documents if each.id == "fee"]
    assert document.text == "# Fee\n\nIt is 5 euros."


def test_a_file_that_cannot_be_read_is_a_warning_and_no_fault(tmp_path: Path) -> None:
    pack = pack_at(tmp_path)
    (pack / "documents" / "scan.pdf").write_bytes(pdf(scan(tmp_path)))
    (pack / "documents" / "cut.docx").write_bytes(word(lambda document: document.add_paragraph("Words."))[:-99])
    (pack / "documents" / "letter.doc").write_bytes(b"x")
    report = check_pack(pack)
    assert report.faults == ()
    assert {(note.file, note.hint) for note in report.warnings} == {
        ("documents/scan.pdf", "scan it again, larger or with more contrast"),
        ("documents/cut.docx", "open it in the program that made it and save it again, or take it away"),
        ("documents/letter.doc", "save it as .docx"),
    }


def test_pages_that_are_only_scanned_are_named(tmp_path: Path) -> None:
    pack = pack_at(tmp_path)
    (pack / "documents" / "half.pdf").write_bytes(pdf(paragraph("Words."), page_break(), scan(tmp_path)))
    [note] = check_pack(pack).warnings
    assert note.file == "documents/half.pdf"
    assert note.reason.startswith("page 2 is not read: it holds no text")


def test_files_that_differ_in_their_suffix_only_are_two_documents(tmp_path: Path) -> None:
    pack = pack_at(
        tmp_path, **{"documents/hotel.txt": "Text.", "documents/hotel.md": "Text.", "documents/b/spa.txt": "Text."}
    )
    assert {"hotel-txt", "hotel-md", "spa"} <= {document.id for document in load_pack(pack).documents}


def test_a_folder_of_pdfs_becomes_a_pack(tmp_path: Path) -> None:
    (tmp_path / "lockers.pdf").write_bytes(lockers())
    made = complete_pack(tmp_path)
    assert made.report.faults == ()
    assert made.report.counts["documents"] == 1
    assert "example.md" not in str(made)


def test_a_folder_of_documents_is_answered_from_and_not_touched(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "lockers.pdf").write_bytes(lockers())
    (folder / "empty.md").write_text("---\nid: empty\n---\n")
    (folder / "scan.pdf").write_bytes(pdf(scan(tmp_path)))
    (folder / "photo.png").write_bytes(b"x")
    before = contents(folder)
    read: list[str] = []
    notes = pack_of_documents(folder, tmp_path / "state" / "pack", read.append)
    assert contents(folder) == before
    assert [document.id for document in load_pack(tmp_path / "state" / "pack").documents] == ["lockers"]
    assert {note.file for note in notes} == {"empty.md", "scan.pdf", "photo.png"}
    assert sorted(read) == ["empty.md", "lockers.pdf", "photo.png", "scan.pdf"]


def test_a_folder_that_changed_is_read_again(tmp_path: Path) -> None:
    folder, pack = tmp_path / "mine", tmp_path / "pack"
    folder.mkdir()
    (folder / "a.txt").write_text("First words.")
    pack_of_documents(folder, pack)
    (folder / "a.txt").unlink()
    (folder / "b.txt").write_text("Second words.")
    pack_of_documents(folder, pack)
    assert [document.id for document in load_pack(pack).documents] == ["b"]


def test_a_folder_without_a_document_is_refused_with_the_reasons(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "scan.pdf").write_bytes(pdf(scan(tmp_path)))
    with pytest.raises(NoDocumentsError, match="holds no text"):
        pack_of_documents(folder, tmp_path / "pack")


def test_a_pack_is_identified_as_it_is_loaded(tmp_path: Path) -> None:
    pack = pack_at(tmp_path)
    loaded = load_pack(pack)
    assert identify_pack(pack) == (loaded.name, loaded.version)
