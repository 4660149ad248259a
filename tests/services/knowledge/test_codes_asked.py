"""An answer about another thing of the same kind is not said with confidence."""

from __future__ import annotations

import pytest

from tests.support.corpus import document
from tests.support.read_documents import read_documents
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.codes_asked import names_another_code
from tidegate.services.knowledge.reader.reader import Reader

FRAMES = """# Picture frames

| Frame | Price | Glass |
|---|---|---|
| Oak 20x30 cm | 18 euros | plain |
| Oak 30x40 cm | 24 euros | plain |
| Pine 40 × 50 cm | 21 euros | matt |

Hooks K4 to K9 carry ten kilos each. Wire W2 costs 3 euros.
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Reader, HybridIndex]:
    return read_documents(tmp_path_factory.mktemp("index"), document("frames", FRAMES, title="Picture frames"))


@pytest.mark.parametrize(
    ("question", "is_answered"),
    [
        ("What does an oak frame 20x30 cost?", True),
        ("What does an oak frame 20 x 30 cm cost?", True),
        ("What does a pine frame 40x50 cost?", True),
        ("What does an oak frame 60x80 cost?", False),
        ("Price of the pine picture frame (order P-7)", True),  # a code of another form
        ("What does wire W2 cost?", True),
        ("What does wire W5 cost?", False),
        ("How much do hooks K6 carry?", True),  # a span holds it
        ("What does an oak frame 20x30 or 60x80 cost?", True),  # one of them is there
    ],
)
def test_what_has_another_code_is_no_answer(site: tuple[Reader, HybridIndex], question: str, is_answered: bool) -> None:
    reader, index = site
    answer = reader.rank_spans(question, "en", index.find(question, 8, "en"), index).answer
    assert (answer.confidence > 0.3) is is_answered


@pytest.mark.parametrize(
    ("question", "is_another"),
    [
        ("frame 40x50", False),
        ("frame 40 x 50", False),
        ("frame 40×50 cm", False),
        ("frame 40X50", False),
        ("frame 60x90", True),
        ("frame 60 × 90", True),
        ("frame 40x500", True),
        ("frame 60", False),
        ("frame for 3 kg", False),
    ],
)
def test_codes_are_one_however_they_are_written(
    site: tuple[Reader, HybridIndex], question: str, is_another: bool
) -> None:
    reader, index = site
    asked = "What does the pine frame cost?"
    _, selection, _ = reader.read(asked, "en", index.find(asked, 8, "en"), index)
    assert [each.plain_text[:4] for each in selection.units] == ["Pine"]
    assert names_another_code(question, selection.units) is is_another
