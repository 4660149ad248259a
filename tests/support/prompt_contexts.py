"""A question of the branch with what its reader found, put before a model, and what a model may say to it."""

from __future__ import annotations

from pathlib import Path

from tests.support.escalation_site import prepared, question
from tidegate.schemas import Question
from tidegate.services.answering import Brief, brief_of
from tidegate.services.fleet.paths import Places
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.index.tenant_indexes import Shelf
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.knowledge.reader.read import survey_by
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.settings import Settings

TOKENS = TokenText.load(Path(".models/lm/target/tokenizer.json"))
ASKED = "What do I need to bring to open an account?"


def brief(asked: str = ASKED, at: Settings | None = None, **more: object) -> Brief:
    """What the reader of that site (or of the hub) finds for the question."""
    places = Places(at or prepared())
    embedder = Embedder.load(places.models)
    shelf = Shelf(("kiosk",), places.index, embedder, exact_below=15_000)
    index = shelf.index("kiosk")
    assert index is not None
    put: Question = question(asked, **more)
    focus = index.focus(put.text, put.language)
    passages = tuple(index.search(focus, embedder.embed(focus), 8, put.language))
    survey, _ = survey_by(Reader(embedder, Calibration.load(places.calibration)), shelf, "kiosk", put, passages)
    assert survey is not None
    made = brief_of(TOKENS, put, survey)
    assert made is not None
    return made


BRIEF = brief()
CHOSEN = {unit.place: unit for unit in BRIEF.survey.chosen}
NUMBER_OF = {numbered.unit.place: numbered.number for numbered in BRIEF.passages}


def says(*numbers: int, cut: int = 0) -> list[int]:
    """The ids of an answer that quotes these passages, the last `cut` tokens left out."""
    ids: list[int] = []
    for number in numbers:
        unit = BRIEF.passages[number - 1].unit
        ids += [TOKENS.FIRST_MARK + number - 1, *TOKENS.encode(f" {unit.spoken}")]
    return ids[: len(ids) - cut]


ALL = tuple(NUMBER_OF[place] for place in CHOSEN)
OTHER = next(numbered.number for numbered in BRIEF.passages if numbered.unit.place not in CHOSEN)
