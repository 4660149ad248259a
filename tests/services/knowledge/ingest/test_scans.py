"""Scanned pages and pictures of pages: recognised where the extra `vision` is there, else named with what brings it."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from bisect import bisect_right
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.office_files import heading, page_break, paragraph, pdf, table
from tests.support.scanned_files import encoded, photographed, scanned_pdf, small_pdf
from tidegate.services.knowledge.ingest.errors import FileUnreadError
from tidegate.services.knowledge.ingest.images import read_image
from tidegate.services.knowledge.ingest.ocr.engine import INSTALL
from tidegate.services.knowledge.ingest.ocr.order import LineBox, sort_lines
from tidegate.services.knowledge.ingest.pdf import pages
from tidegate.services.knowledge.ingest.pdf.layout import read_pdf
from tidegate.services.knowledge.ingest.reader import DocumentReader

GERMAN = "Für eine gesperrte Überweisung zahlen Sie nichts. Die Gebühr für Schließfächer beträgt 145 £ im Jahr."
FRENCH = "Le relevé de compte coûte 12 € par année ; à l'étranger, français ou non, il est envoyé dès février."
SPANISH = "El año pasado la comisión bajó: los jóvenes pagan 3 € y los demás señores 5 € según el límite."
FEES = [("Service", "Fee", "Valid from"), ("Card", "£11", "01.03.2025"), ("Cheque", "£12", "01.04.2025")]


def test_scanned_pages_become_what_they_show_on_their_own_pages(tmp_path: Path) -> None:
    table_page = photographed(small_pdf(heading("Fees", 2), table(FEES), paragraph("All fees are in pounds.")), turn=90)
    file = tmp_path / "mixed.pdf"
    file.write_bytes(
        scanned_pdf("Words that need no eyes.", table_page, photographed(small_pdf(paragraph(GERMAN)), tilt=1.5))
    )
    heard: list[str] = []
    with DocumentReader(on_page=heard.append) as documents:
        read = documents.read(file)
    assert "| Service | Fee | Valid from |\n|---|---|---|\n| Card | £11 | 01.03.2025 |" in read.text
    assert "# Fees\n" in read.text
    assert GERMAN in read.text
    assert [bisect_right(read.page_starts, read.text.index(words)) for words in ("eyes", "Cheque", "Gebühr")] == [
        1,
        2,
        3,
    ]
    assert read.recognised == ((read.page_starts[1], len(read.text)),), "of what was typed nothing was recognised"
    assert [note.reason for note in read.notes] == ["pages 2-3 are scanned: the text was recognised"]
    assert heard == ["mixed.pdf: page 1 of 2", "mixed.pdf: page 2 of 2"]


def test_pictures_are_read_page_by_page_whichever_way_up() -> None:
    french = photographed(small_pdf(paragraph(FRENCH)), turn=180)
    spanish = photographed(small_pdf(paragraph(SPANISH)), tilt=-1)
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 255, (200, 300), dtype=np.uint8))
    read = read_image(encoded(french, Image.new("L", (400, 300), 250), spanish, noise))
    assert FRENCH.replace(" ;", ";") in read.text.replace(" ;", ";")
    assert SPANISH in read.text
    assert bisect_right(read.page_starts, read.text.index("jóvenes")) == 3
    assert read.recognised == ((0, len(read.text)),)
    reasons = [note.reason for note in read.notes]
    assert reasons[:2] == ["it is a picture: the text was recognised", "pages 2, 4 are not read: each holds no text"]


def boxes(*corners: tuple[float, float, float, float]) -> list[LineBox]:
    return [LineBox(number, *corner) for number, corner in enumerate(corners)]


def order(found: list[LineBox]) -> list[int]:
    return [box.line for box in sort_lines(found)]


def test_columns_are_read_one_after_the_other_below_what_stands_across_them() -> None:
    title, foot = (200.0, 800.0, 0.0, 24.0), (50.0, 950.0, 400.0, 420.0)
    left = [(50.0, 480.0, 50.0 + 30 * row, 70.0 + 30 * row) for row in range(6)]
    right = [(520.0, 950.0, 61.0 + 30 * row, 81.0 + 30 * row) for row in range(6)]
    mixed = [box for pair in zip(right, left, strict=True) for box in pair]
    assert order(boxes(title, foot, *mixed)) == [0, 3, 5, 7, 9, 11, 13, 2, 4, 6, 8, 10, 12, 1]


def test_a_table_and_a_letterhead_are_read_row_by_row() -> None:
    cells = [(x, x + 90.0, 30.0 * row, 30.0 * row + 20) for row in range(6) for x in (50.0, 300.0, 600.0)]
    assert order(boxes(*reversed(cells))) == list(reversed(range(18)))
    assert order(boxes((700, 900, 3, 23), (50, 300, 0, 20), (50, 900, 40, 60))) == [1, 0, 2]


def test_a_picture_that_unpacks_to_more_than_it_may_is_named_and_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = encoded(Image.new("1", (12_000, 12_000)), kind="PNG")
    assert len(bomb) < 2**18
    with pytest.raises(FileUnreadError, match="144 megapixels; 100 are the most"):
        read_image(bomb)
    monkeypatch.setattr(pages, "MOST_PIXELS", 50_000)
    read = read_pdf(scanned_pdf(Image.new("L", (300, 200), 90), "The next page is read."))
    assert "The next page is read." in read.text
    assert ["holds a picture of more than" in note.reason for note in read.notes] == [True]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n" + b"x" * 99, b"II*\x00" + b"\xff" * 99, b"GIF89a" + b"x" * 99])
def test_what_is_no_picture_is_named(data: bytes) -> None:
    with pytest.raises(FileUnreadError, match="no picture that can be opened"):
        read_image(data)


@pytest.fixture
def packages_without_vision(tmp_path: Path) -> Path:
    """A folder of packages that has those of this Python but for RapidOCR and what only it brings."""
    packages = tmp_path / "packages"
    packages.mkdir()
    site = Path(sysconfig.get_paths()["purelib"])
    for entry in site.iterdir():
        if not entry.name.lower().startswith(("rapidocr", "cv2", "opencv", "pil", "pillow", "shapely", "pyclipper")):
            (packages / entry.name).symlink_to(entry)
    return packages


def test_without_the_extra_pages_and_pictures_are_named_with_what_brings_it(
    tmp_path: Path, packages_without_vision: Path
) -> None:
    files = [tmp_path / "scan.pdf", tmp_path / "scan.png"]
    files[0].write_bytes(scanned_pdf("Words that need no eyes.", Image.new("L", (300, 200), 90)))
    files[1].write_bytes(encoded(Image.new("L", (300, 200), 90), kind="PNG"))
    script = """
import importlib.util, json, pathlib, site, sys
site.addsitedir(sys.argv[1])
assert importlib.util.find_spec("rapidocr") is None and importlib.util.find_spec("PIL") is None
from tidegate.services.knowledge.ingest.errors import FileUnreadError
from tidegate.services.knowledge.ingest.read import read_file
read = read_file(pathlib.Path(sys.argv[2]))
try:
    read_file(pathlib.Path(sys.argv[3]))
except FileUnreadError as error:
    print(json.dumps([read.text, [[note.reason, note.hint] for note in read.notes], error.reason, error.hint]))
"""
    command = [sys.executable, "-S", "-c", script, str(packages_without_vision), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text, notes, reason, hint = json.loads(done.stdout)
    assert text.startswith("Words that need no eyes.")
    assert notes == [["page 2 is scanned: pictures of text are not read", INSTALL]]
    assert (reason, hint) == ("it is a picture: pictures of text are not read", INSTALL)
    assert INSTALL in (Path(__file__).parents[4] / "README.md").read_text(encoding="utf-8")


def test_a_page_of_text_with_a_picture_is_no_scan() -> None:
    words = "A page of words that were typed, beside a picture of the harbour, is read as it was typed. " * 3
    made = pdf(paragraph(words), page_break(), paragraph(words))
    assert read_pdf(made).notes == ()
