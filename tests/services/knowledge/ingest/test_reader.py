"""Files are read in a process of its own: what is wrong with one is named, and the next one is read."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.office_files import paragraph, pdf, word
from tidegate.services.knowledge.ingest import read
from tidegate.services.knowledge.ingest.errors import FileUnreadError
from tidegate.services.knowledge.ingest.reader import DocumentReader


def put(folder: Path, name: str, data: bytes) -> Path:
    file = folder / name
    file.write_bytes(data)
    return file


def why(file: Path) -> str:
    """Why a file is not read, and that the next one is all the same."""
    good = put(file.parent, "good.txt", b"Good words.")
    with DocumentReader(most_seconds=30) as documents:
        with pytest.raises(FileUnreadError) as caught:
            documents.read(file)
        assert caught.value.hint
        assert documents.read(good).text == "Good words."
    return caught.value.reason


def changed(data: bytes, name: str, new: bytes) -> bytes:
    """An Office file with one part replaced."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for member in old.namelist():
            made.writestr(member, new if member == name else old.read(member))
    return buffer.getvalue()


def plain_word() -> bytes:
    return word(lambda document: document.add_paragraph("Words."))


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.pdf", b"", "it is empty"),
        ("blank.txt", b" \n\n", "there is no text in it"),
        ("fake.pdf", b"hello " * 99, "it is no PDF"),
        ("fake.docx", b"hello " * 99, "broken or cut short"),
        ("old.docx", b"\xd0\xcf\x11\xe0" + bytes(600), "protected by a password, or in the format of Office"),
        ("binary.txt", bytes(range(256)) * 9, "it is no text"),
        ("binary.csv", bytes(999), "it is no text"),
        ("letter.doc", b"x", "files of the kind .doc are not read"),
        ("noname", b"x", "files of the kind without a suffix are not read"),
        ("quote.csv", b'"' + b"x" * 300_000, "it is broken"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named_with_a_reason(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    assert reason in why(put(tmp_path, name, data))


def test_a_word_file_cut_short_is_named(tmp_path: Path) -> None:
    assert "broken or cut short" in why(put(tmp_path, "cut.docx", plain_word()[:-900]))


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = changed(plain_word(), "word/document.xml", b"<w:document>" + b" " * (200 * 2**20))
    assert len(bomb) < 2**20
    assert "unpacks to 200 MiB" in why(put(tmp_path, "bomb.docx", bomb))


def test_entities_do_not_grow_without_end(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 20}">' for n in range(1, 9))
    xml = f'<!DOCTYPE d [<!ENTITY e0 "ha">{entities}]><d>&e8;</d>'
    assert "it is broken" in why(put(tmp_path, "laughs.docx", changed(plain_word(), "word/document.xml", xml.encode())))


def test_entities_do_not_read_files(tmp_path: Path) -> None:
    secret = put(tmp_path, "secret", b"secret words")
    body = '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r>'
    xml = f'<!DOCTYPE d [<!ENTITY x SYSTEM "{secret.as_uri()}">]>{body}<w:t>Shown &x;</w:t></w:r></w:p>'
    xml += "</w:body></w:document>"
    file = put(tmp_path, "x.docx", changed(plain_word(), "word/document.xml", xml.encode()))
    with DocumentReader() as documents, pytest.raises(FileUnreadError, match="has a document type"):
        documents.read(file)


def test_elements_without_end_are_read_or_named(tmp_path: Path) -> None:
    file = put(tmp_path, "deep.html", b"<p>Words." + b"<ul><li>" * 3000)
    with DocumentReader(most_seconds=60) as documents:
        assert documents.read(file).text.startswith("Words.")


def test_a_file_that_is_too_large_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MOST_BYTES", 2**20)
    with pytest.raises(FileUnreadError, match="it has 2 MiB; 1 are the most"):
        read.read_file(put(tmp_path, "large.txt", b"x" * 2**21))


def test_a_text_that_is_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MOST_CHARACTERS", 100)
    with pytest.raises(FileUnreadError, match="200 characters"):
        read.read_file(put(tmp_path, "long.txt", b"x" * 200))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    assert "it is no file" in why(tmp_path / "pipe.txt")


@pytest.fixture
def worker_that(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder whose `act.py` takes the part of the process that reads, until it is taken away."""
    real = subprocess.Popen

    def start(command: list[str], **given: Any) -> subprocess.Popen[bytes]:
        act = tmp_path / "act.py"
        return real([sys.executable, str(act)] if act.exists() else command, **given)

    monkeypatch.setattr(subprocess, "Popen", start)
    return tmp_path


def test_a_file_that_takes_too_long_is_named_and_the_next_is_read(worker_that: Path) -> None:
    act = put(worker_that, "act.py", b"import time; time.sleep(600)")
    file, good = put(worker_that, "slow.txt", b"x"), put(worker_that, "good.txt", b"Good.")
    with (
        DocumentReader(most_seconds=0.2) as documents,
        pytest.raises(FileUnreadError, match=r"longer than 0\.2 seconds"),
    ):
        documents.read(file)
    act.unlink()
    with DocumentReader() as documents:
        assert documents.read(good).text == "Good."


def test_a_file_that_ends_the_process_is_named_and_the_next_is_read(worker_that: Path) -> None:
    act = put(worker_that, "act.py", b"import os; os.kill(os.getpid(), 9)")
    file, good = put(worker_that, "crash.txt", b"x"), put(worker_that, "good.txt", b"Good.")
    with DocumentReader() as documents:
        with pytest.raises(FileUnreadError, match="ends the program that reads"):
            documents.read(file)
        act.unlink()
        assert documents.read(good).text == "Good."


def test_modules_beside_the_documents_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for module in ("csv", "pypdfium2", "msgspec"):
        put(tmp_path, f"{module}.py", b"open('ran', 'w').write('x'); raise SystemExit(9)")
    with DocumentReader() as documents:
        assert documents.read(put(tmp_path, "good.pdf", pdf(paragraph("Words.")))).text == "Words."
    assert not (tmp_path / "ran").exists()


def test_what_was_read_is_not_read_again_until_it_changes(tmp_path: Path) -> None:
    file = put(tmp_path, "a.txt", b"First.")
    with DocumentReader() as documents:
        first = documents.read(file)
        assert documents.read(file) is first
        put(tmp_path, "a.txt", b"Second words.")
        assert documents.read(file).text == "Second words."


def test_a_missing_library_is_named_with_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in list(sys.modules):
        if module.startswith("tidegate.services.knowledge.ingest.pdf"):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(FileUnreadError, match="need the package pypdfium2") as caught:
        read.read_file(put(tmp_path, "a.pdf", pdf(paragraph("Words."))))
    assert caught.value.hint == "pip install 'tidegate[documents]'"
