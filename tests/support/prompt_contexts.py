"""A question of the branch with what its reader found, put before a model, and what a model may answer to it."""

from __future__ import annotations

from pathlib import Path

from tests.support.escalation_site import prepared, question
from tidegate.schemas import Question
from tidegate.services.answering.prompt_context import PromptContext, build_prompt_context
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.knowledge.reader.reader import Reader, rank_for_tenant
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.settings import Settings

TOKENS = TokenText.load(Path(".models/lm/target/tokenizer.json"))
ASKED = "What do I need to bring to open an account?"


def prompt_context(asked: str = ASKED, at: Settings | None = None, **more: object) -> PromptContext:
    """What the reader of that site (or of the hub) finds for the question."""
    paths = StatePaths(at or prepared())
    units = UnitReader.load(paths.models)
    embedder = units.embedder
    indexes = TenantIndexes(("kiosk",), paths.index, embedder, exact_below=15_000)
    index = indexes.index("kiosk")
    assert index is not None
    put: Question = question(asked, **more)
    passages = tuple(index.find(put.text, 8, put.language))
    reading, _ = rank_for_tenant(Reader(units, Calibration.load(paths.calibration)), indexes, "kiosk", put, passages)
    assert reading is not None
    made = build_prompt_context(TOKENS, put, reading)
    assert made is not None
    return made


CONTEXT = prompt_context()
CHOSEN = {unit.span: unit for unit in CONTEXT.reading.selected}
NUMBER_OF = {unit.span: number for number, unit in enumerate(CONTEXT.passages, start=1)}


def quote(*numbers: int, cut: int = 0) -> list[int]:
    """The ids of an answer that quotes these passages, the last `cut` tokens left out."""
    ids: list[int] = []
    for number in numbers:
        unit = CONTEXT.passages[number - 1]
        ids += [TOKENS.FIRST_MARK + number - 1, *TOKENS.encode(f" {unit.plain_text}")]
    return ids[: len(ids) - cut]


ALL = tuple(NUMBER_OF[at] for at in CHOSEN)
OTHER = next(number for span, number in NUMBER_OF.items() if span not in CHOSEN)
