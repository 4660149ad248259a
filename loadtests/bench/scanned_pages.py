"""How well scanned pages are recognised: `python -m loadtests.bench.scanned_pages` prints a table.

Two documents of the kiosk pack per language are set as a PDF and scanned: as they are, and with noise and askew. What
is read is compared with what the PDF itself says, character by character. Synthetic: real paper is worse.
"""

from __future__ import annotations

import difflib
import io
import re
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import mean

import click
import numpy as np
import pypdfium2
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import Paragraph, SimpleDocTemplate

from tidegate.services.cli.options import find_default_pack
from tidegate.services.knowledge.ingest.errors import FileUnreadError
from tidegate.services.knowledge.ingest.ocr.recognition import open_picture_reader

FOLDERS = {"en": "security", "de": "de", "fr": "fr", "es": "es"}
DOTS = (75, 100, 150, 200)
WORSE = {"clean": (0.0, 0.0), "noise 25, 1.2 degrees": (25.0, 1.2)}


def set_pages(folder: Path) -> bytes:
    """Two documents of the folder, one page."""
    styles = getSampleStyleSheet()
    story = []
    for file in sorted(folder.glob("*.md"))[:2]:
        text = re.sub(r"^---.*?---", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
        for block in re.split(r"\n\n|\n(?=- )", text.strip()):
            style = styles["Heading2" if block.startswith("#") else "BodyText"]
            story.append(Paragraph(" ".join(block.lstrip("# ").split()), style))
    buffer = io.BytesIO()
    SimpleDocTemplate(buffer, pagesize=A4).build(story)
    return buffer.getvalue()


def scan(made: bytes, dots: int, noise: float, tilt: float) -> Image.Image:
    """The first page as a scanner would give it."""
    shown = pypdfium2.PdfDocument(made)[0].render(scale=dots / 72, grayscale=True).to_pil()
    shown = shown.rotate(tilt, Image.Resampling.BICUBIC, fillcolor=255)
    dust = np.random.default_rng(1).normal(0, noise, (shown.height, shown.width))
    return Image.fromarray((np.asarray(shown, dtype=np.float32) + dust).clip(0, 255).astype(np.uint8))


def agreement(want: str, got: str) -> float:
    """The share of characters that are the same, spaces counted as one."""
    want, got = (" ".join(text.split()) for text in (want, got))
    blocks = difflib.SequenceMatcher(None, want, got, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / max(len(want), len(got))


def measure(folder: Path) -> Iterator[tuple[int, str, float, float]]:
    """Dots an inch, what was made worse, characters right, seconds of one core; -1 where the page is refused."""
    made = set_pages(folder)
    want = pypdfium2.PdfDocument(made)[0].get_textpage().get_text_range()
    for dots, (worse, (noise, tilt)) in product(DOTS, WORSE.items()):
        page = scan(made, dots, noise, tilt)
        started = time.process_time()
        try:
            lines = open_picture_reader().read(page).lines
            right = agreement(want, " ".join(line.read.text for line in lines))
        except FileUnreadError:
            right = -1.0
        yield dots, worse, right, time.process_time() - started


@click.command()
def main() -> None:
    """Print, for each language, the share of characters that are read right, and the seconds a page."""
    open_picture_reader().read(scan(set_pages(find_default_pack() / "documents" / "de"), 100, 0, 0))
    for language, folder in FOLDERS.items():
        rows = list(measure(find_default_pack() / "documents" / folder))
        for dots, worse, right, seconds in rows:
            click.echo(f"{language} {dots:>3} dpi, {worse:<22} {right:8.2%} {seconds:6.2f} s")
        click.echo(f"{language} mean of 100 dpi and more{'':>10} {mean(row[2] for row in rows if row[0] >= 100):8.2%}")


if __name__ == "__main__":
    main()
