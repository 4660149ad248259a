"""What the engine is asked in the bench: a pack's questions as the hub asks them, and the drafts that a site ships."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from loadtests.bench.accuracy import PreparedSide
from loadtests.bench.vllm_side import Case
from tidegate.schemas import Question
from tidegate.schemas.pack import LabelledQuestion
from tidegate.services.answering.prompt_context import build_prompt_context, draft_from_reading
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.packs.load import load_pack

KINDS = ("answerable", "hub")
LEAST_TOKENS = 12
"""A draft shorter than that has hardly a step to save."""


def cases_of(pack: Path, models: Path, count: int) -> list[Case]:
    """`count` cases, evenly over the pack's questions. Raises `ValueError` where the pack has not as many."""
    tokens = TokenText.load(models / "lm" / "target" / "tokenizer.json")
    units = UnitReader.load(models)
    labelled = load_pack(pack)
    with tempfile.TemporaryDirectory() as directory:
        sides = {scope: PreparedSide(labelled, scope, units, Path(directory) / scope) for scope in ("site", "hub")}
        asked = [each for each in labelled.questions if each.kind in KINDS and each.workload == "assist"]
        found = [case for each in asked if (case := _case(tokens, sides, each)) is not None]
    if len(found) < count:
        raise ValueError(f"{pack} has {len(found)} questions with a draft of {LEAST_TOKENS} tokens, not {count}")
    return found[:: len(found) // count][:count]


def _case(tokens: TokenText, sides: dict[str, PreparedSide], asked: LabelledQuestion) -> Case | None:
    question = Question(text=asked.text, language=asked.language, intent="", intent_confidence=0.0)
    (hub, _), (site, _) = sides["hub"].ask(asked), sides["site"].ask(asked)
    context = build_prompt_context(tokens, question, hub)
    draft = draft_from_reading(tokens, site)
    if context is None or draft is None or len(draft.ids) < LEAST_TOKENS:
        return None
    dice = random.Random(asked.text)
    absent = [each for each in range(tokens.size) if not tokens.is_control(each) and each not in {*context.prompt}]
    wrong = tuple(dice.choice(absent) for _ in draft.ids)  # answers copy from the prompt
    return Case(context.prompt, draft.ids, wrong)
