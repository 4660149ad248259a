"""A question of the branch with what its reader found, put before a model, and what a model may answer to it."""

from __future__ import annotations

from pathlib import Path

from tests.support.escalation_site import prepared, question
from tidegate.schemas import Question
from tidegate.services.answering.prompt_context import PromptContext, build_prompt_context
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.index.tenant_indexes import Shelf
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.knowledge.reader.read import survey_by
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.settings import Settings

TOKENS = TokenText.load(Path(".models/lm/target/tokenizer.json"))
ASKED = "What do I need to bring to open an account?"


def prompt_context(asked: str = ASKED, at: Settings | None = None, **more: object) -> PromptContext:
    """What the reader of that site (or of the hub) finds for the question."""
    paths = StatePaths(at or prepared())
    embedder = Embedder.load(paths.models)
    shelf = Shelf(("kiosk",), paths.index, embedder, exact_below=15_000)
    index = shelf.index("kiosk")
    assert index is not None
    put: Question = question(asked, **more)
    focus = index.focus(put.text, put.language)
    passages = tuple(index.search(focus, embedder.embed(focus), 8, put.language))
    survey, _ = survey_by(Reader(embedder, Calibration.load(paths.calibration)), shelf, "kiosk", put, passages)
    assert survey is not None
    made = build_prompt_context(TOKENS, put, survey)
    assert made is not None
    return made


CONTEXT = prompt_context()
CHOSEN = {unit.place: unit for unit in CONTEXT.survey.chosen}
NUMBER_OF = {numbered.unit.place: numbered.number for numbered in CONTEXT.passages}


def quote(*numbers: int, cut: int = 0) -> list[int]:
    """The ids of an answer that quotes these passages, the last `cut` tokens left out."""
    ids: list[int] = []
    for number in numbers:
        unit = CONTEXT.passages[number - 1].unit
        ids += [TOKENS.FIRST_MARK + number - 1, *TOKENS.encode(f" {unit.spoken}")]
    return ids[: len(ids) - cut]


ALL = tuple(NUMBER_OF[at] for at in CHOSEN)
OTHER = next(numbered.number for numbered in CONTEXT.passages if numbered.unit.place not in CHOSEN)
