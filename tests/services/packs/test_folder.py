"""Folders as people have them: whatever lies in one is read or named, and nothing of it ends the work."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import msgspec
import pytest

from tests.support.office_files import paragraph, pdf
from tests.support.scanned_files import photographed, scanned_pdf, small_pdf
from tidegate.services.cli import main
from tidegate.services.knowledge.ingest import reader
from tidegate.services.knowledge.ingest.ocr.engine import INSTALL
from tidegate.services.packs import findings as findings_of
from tidegate.services.packs.folder import list_files, list_passed_over
from tidegate.services.packs.load import check_pack, identify_pack, load_pack
from tidegate.services.packs.new import NoDocumentsError, pack_of_documents

LATIN = os.fsdecode(b"Geb\xfchr.txt")
LONG = "terms and conditions of the safe deposit lockers, as they are printed on the back of the form "
OBEY_PERMISSIONS = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, by which root opens everything
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP: without it from the next program on
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
"""
MAKE_PACK = """
import json, sys
from pathlib import Path
from tidegate.services.packs.load import load_pack
from tidegate.services.packs.new import pack_of_documents
notes = pack_of_documents(Path(sys.argv[1]), Path(sys.argv[2]))
documents = [document.id for document in load_pack(Path(sys.argv[2])).documents]
print(json.dumps([[[note.file, note.reason, note.hint] for note in notes], documents]))
"""
SCANNED = "A lost locker key is replaced for £85 within ten working days."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "good.txt").write_text("Good words.")
    return tmp_path / "mine"


def notes_on(folder: Path) -> dict[str, str]:
    """What is said of each file that is not read when a pack is made of the folder, and that the good one is."""
    pack = folder.parent / "state" / "pack"
    notes = pack_of_documents(folder, pack)
    assert "good" in {document.id for document in load_pack(pack).documents}
    assert all(note.hint for note in notes)
    return {note.file: note.reason for note in notes}


def test_links_that_lead_round_in_a_circle_or_nowhere_are_named(folder: Path) -> None:
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "up").symlink_to(folder)
    (folder / "itself.pdf").symlink_to(folder / "itself.pdf")
    (folder / "gone.docx").symlink_to(folder / "nothing.docx")
    (folder / "far.txt").symlink_to(folder / ("x" * 300))
    os.mkfifo(folder / "pipe.txt")
    found = notes_on(folder)
    assert found == {
        "deep/er/up": "this file is not read: it is a link to a folder, and such links are not followed",
        "gone.docx": "this file is not read: it is a link that leads to no file",
        "itself.pdf": "this file is not read: it cannot be opened (Too many levels of symbolic links)",
        "far.txt": "this file is not read: it cannot be opened (File name too long)",
        "pipe.txt": "this file is not read: it is no file",
    }


def test_a_link_to_a_file_is_the_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.txt").write_text("Words from elsewhere.")
    (folder / "linked.txt").symlink_to(tmp_path / "elsewhere.txt")
    assert notes_on(folder) == {}
    documents = load_pack(tmp_path / "state" / "pack").documents
    assert {document.id for document in documents} == {"good", "linked"}


def test_what_may_not_be_opened_is_named_and_the_rest_is_read(folder: Path) -> None:
    for name in ("closed.txt", "closed.md"):
        (folder / name).write_text("Secret words.")
        (folder / name).chmod(0)
    for name, mode in (("shut", 0), ("listed", 0o444)):
        (folder / name).mkdir()
        (folder / name / "in.txt").write_text("More words.")
        (folder / name).chmod(mode)
    command = [sys.executable, "-c", OBEY_PERMISSIONS, MAKE_PACK, str(folder), str(folder.parent / "pack")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    notes, documents = json.loads(done.stdout)
    assert documents == ["good"]
    assert {file: reason.rpartition(": ")[2] for file, reason, _ in notes} == {
        "closed.txt": "Permission denied",
        "closed.md": "Permission denied",
        "shut": "it is a folder that cannot be opened (Permission denied)",
        "listed/in.txt": "it cannot be opened (Permission denied)",
    }


def test_names_of_any_bytes_and_length_are_read_and_printed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [LATIN, LATIN.replace("\udcfc", "\udcfd"), "line\nend.txt", LONG + "part one.txt", LONG + "part two.txt"]
    names += ["x" * 251 + ".txt", "ü" * 125 + "a.txt"]
    for number, name in enumerate(names):
        (folder / name).write_text(f"Words of number {number}.")
    (folder / os.fsdecode(b"bad\xff.pdf")).write_bytes(b"%PDF-1.7 and no more")
    found = notes_on(folder)
    assert set(found) == {"bad\ufffd.pdf"}
    documents = load_pack(folder.parent / "state" / "pack").documents
    assert len(documents) == len({document.id for document in documents}) == len(names) + 1
    assert {document.text for document in documents} > {f"Words of number {number}." for number in range(len(names))}
    msgspec.json.encode(documents)
    monkeypatch.chdir(folder.parent)
    (folder.parent / os.fsdecode(b"leer\xff")).mkdir()
    capsys.readouterr()
    monkeypatch.setenv("TIDEGATE_STATE_DIR", "state2")
    with pytest.raises(SystemExit):
        main(["demo", "--docs", os.fsdecode(b"leer\xff"), "--json"])
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["reason"]) == ("no_documents", "nothing in leer? can be read: it holds no file")


def test_names_that_are_one_but_for_their_case_or_their_end_are_two_documents(folder: Path) -> None:
    for name in ("Report.pdf", "report.pdf"):
        (folder / name).write_bytes(pdf(paragraph(f"Words of {name}.")))
    for name in ("one.md", "two.md"):
        (folder / f"{LONG}{name}").write_text(f"Words of {name}.")
    assert notes_on(folder) == {}
    documents = load_pack(folder.parent / "state" / "pack").documents
    assert len({document.id for document in documents}) == 5
    again = folder.parent / "moved"
    folder.rename(again)
    pack_of_documents(again, folder.parent / "state" / "pack")
    assert [each.id for each in load_pack(folder.parent / "state" / "pack").documents] == [
        each.id for each in documents
    ], "an id does not depend on where the folder lies"


def test_files_that_are_too_large_are_named_whatever_their_kind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings_of, "MOST_BYTES", 2 << 20)
    monkeypatch.setattr(findings_of, "MOST_CHARACTERS", 1_000_000)
    (folder / "large.md").write_text("Words. " * 500_000)
    (folder / "long.md").write_text("Words. " * 150_000)
    with (folder / "film.mp4").open("wb") as film:
        film.truncate(300 << 30)  # so many bytes are never read, or this would not end
    with (folder / "huge.pdf").open("wb") as huge:
        huge.truncate(300 << 30)
    found = notes_on(folder)
    assert found["large.md"] == "it has 3 MiB; 2 are the most that are read"
    assert found["long.md"] == "it has 1050000 characters; 1000000 are the most that are read"
    assert found["huge.pdf"].startswith("this file is not read: it has 307200 MiB")
    assert found["film.mp4"] == "this file is not read"
    pack = folder.parent / "state" / "pack"
    before = identify_pack(pack)
    with (folder / "film.mp4").open("wb") as film:
        film.truncate(299 << 30)
    assert identify_pack(pack) != before


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "it holds no file"),
        ({"film.mp4": b"x", "LICENSE": b"x", "b.mp4": b"x"}, "its files are of the kinds .mp4, without a suffix"),
        ({".hidden.txt": b"Words."}, "it holds no file"),
        ({"a.pdf": b"%PDF-1.7", "b.docx": b"PK", "empty.md": b""}, "a.pdf: this file is not read: "),
        ({f"{n}.pdf": b"%PDF-1.7" for n in range(12)}, "; and 4 more"),
    ],
)
def test_a_folder_of_which_nothing_can_be_read_is_refused_with_what_it_holds(
    tmp_path: Path, files: dict[str, bytes], reason: str
) -> None:
    (tmp_path / "mine").mkdir()
    for name, data in files.items():
        (tmp_path / "mine" / name).write_bytes(data)
    with pytest.raises(NoDocumentsError) as caught:
        pack_of_documents(tmp_path / "mine", tmp_path / "pack")
    assert reason in str(caught.value)
    assert caught.value.hint


def test_the_links_of_a_folder_that_loops_are_listed_once(folder: Path) -> None:
    (folder / "loop").symlink_to(".")
    assert [file.name for file in list_files(folder)] == ["good.txt"]
    assert [other.path.name for other in list_passed_over(folder)] == ["loop"]
    assert list_files(folder / "nothing") == []


def test_a_file_that_cannot_be_read_is_tried_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "bad.pdf").write_bytes(b"%PDF-1.7 and no more")
    asked: list[str] = []
    ask = reader.DocumentReader._ask

    def counted(self: reader.DocumentReader, path: Path) -> object:
        asked.append(path.name)
        return ask(self, path)

    monkeypatch.setattr(reader.DocumentReader, "_ask", counted)
    notes_on(folder)
    check_pack(folder.parent / "state" / "pack")
    assert sorted(asked) == ["bad.pdf", "good.txt"]
    (folder / "bad.pdf").write_bytes(pdf(paragraph("Good again.")))
    assert notes_on(folder) == {}


def test_what_was_recognised_makes_another_version_of_a_document(folder: Path) -> None:
    (folder / "scan.pdf").write_bytes(
        scanned_pdf("Words that were typed.", photographed(small_pdf(paragraph(SCANNED))))
    )
    assert notes_on(folder) == {"scan.pdf": "page 2 is scanned: the text was recognised"}
    pack = folder.parent / "state" / "pack"
    scan = next(document for document in load_pack(pack).documents if document.id == "scan")
    [(start, end)] = scan.recognised
    assert scan.text[start:end].startswith(SCANNED)
    assert scan.version != hashlib.sha256(scan.text.encode()).hexdigest()[:12], "an index without it holds another"
    good = next(document for document in load_pack(pack).documents if document.id == "good")
    assert good.version == hashlib.sha256(good.text.encode()).hexdigest()[:12]


def test_without_the_extra_a_scan_is_named_with_what_brings_it_and_the_rest_is_read(
    folder: Path, tmp_path: Path
) -> None:
    """In an environment of its own, as the file is read by a process of its own."""
    (folder / "scan.pdf").write_bytes(scanned_pdf(photographed(small_pdf(paragraph(SCANNED)))))
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = environment / "lib" / version / "site-packages"
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not entry.name.lower().startswith("rapidocr") and not (packages / entry.name).exists():
            (packages / entry.name).symlink_to(entry)
    command = [str(environment / "bin" / "python"), "-c", MAKE_PACK, str(folder), str(tmp_path / "pack")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reason = "nothing in it can be read: page 1 is scanned: pictures of text are not read"
    assert json.loads(done.stdout) == [[["scan.pdf", f"this file is not read: {reason}", INSTALL]], ["good"]]
