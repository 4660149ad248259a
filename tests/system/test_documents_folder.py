"""A new user with nothing but a folder: it is answered from what can be read of it, and the rest is named."""

from __future__ import annotations

import io
import os
import re
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import read_line, start_tidegate, tidegate
from tests.support.office_files import excel, paragraph, word
from tests.support.paths import MODELS
from tests.support.scanned_files import photographed, scanned_pdf, small_pdf
from tidegate.services.languages.words import say_recognised

pytestmark = pytest.mark.system

CELLAR = "Safe deposit lockers are in the cellar of the branch, beside the stairs."
KEY = "A lost locker key is replaced for £85 within ten working days."
PARKING = "Parking in the yard of the branch costs £4 an hour.\n"


def bomb(made: bytes, name: str) -> bytes:
    """An Office file of which one part unpacks to 140 MiB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(made)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            new.writestr(member, bytes(140 << 20) if member == name else old.read(member))
    return buffer.getvalue()


def fill(folder: Path) -> None:
    folder.mkdir()
    pages = (photographed(small_pdf(paragraph(text))) for text in (CELLAR, KEY))
    (folder / "lockers.pdf").write_bytes(scanned_pdf(*pages))
    (folder / ("parking " * 30 + ".txt")).write_text(PARKING)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\n" + os.urandom(2000))
    (folder / "bomb.docx").write_bytes(bomb(word(lambda made: made.add_paragraph("Words.")), "word/document.xml"))
    (folder / "bomb.xlsx").write_bytes(bomb(excel(lambda book: book.active.append(["a"])), "xl/workbook.xml"))
    (folder / os.fsdecode(b"Geb\xfchr.doc")).write_bytes(b"x")
    (folder / "round").symlink_to(folder)
    (folder / "itself.pdf").symlink_to("itself.pdf")


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[str], tuple[str, ...]]]:
    """What `up --docs` prints before it stays up, and the option with which a command finds it."""
    monkeypatch.setenv("TIDEGATE_MODELS_DIR", str(MODELS))
    fill(tmp_path / "mine")
    state = ("--state", str(tmp_path / "state"))
    up = start_tidegate("up", "--docs", str(tmp_path / "mine"), "--sites", "1", *state, together=True)
    lines: list[str] = []
    while not lines or not lines[-1].startswith("Ctrl-C"):
        line = read_line(up).decode()
        assert line, lines
        lines.append(line.strip())
    yield lines, state
    up.send_signal(signal.SIGTERM)
    up.wait(30)


def test_a_folder_with_scans_and_with_much_that_is_broken_is_answered_from(
    fleet: tuple[list[str], tuple[str, ...]],
) -> None:
    lines, state = fleet
    warned = dict(re.findall(r"^warning: (.+?): (.*)$", "\n".join(lines), re.MULTILINE))
    assert warned.keys() == {
        "lockers.pdf", "broken.pdf", "bomb.docx", "bomb.xlsx", "Geb\ufffdhr.doc", "round", "itself.pdf"
    }  # fmt: skip
    assert warned["lockers.pdf"].startswith("pages 1-2 are scanned: the text was recognised")
    assert all("unpacks to 140 MiB" in warned[name] for name in ("bomb.docx", "bomb.xlsx"))
    asked = tidegate("ask", "What does a lost locker key cost?", *state)
    assert "£85" in asked.stdout, asked.stderr
    [cited] = re.findall(r"^  \[lockers@\w+\] (.*)$", asked.stdout, re.MULTILINE)
    assert re.fullmatch(f"page 2, {say_recognised('en')}, signed by hub/[0-9a-f]{{16}}", cited)
    [rid] = re.findall(r"request (\w+)", asked.stdout)
    assert say_recognised("en") in tidegate("trace", rid, *state).stdout
    typed = tidegate("ask", "How much is parking in the yard?", *state).stdout
    assert "£4 an hour" in typed
    assert say_recognised("en") not in typed
