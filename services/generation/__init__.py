"""The generation room: text as tokens, models that continue it, drafts that make that quicker and never different.

What needs the ONNX runtime or the grammar engine is loaded when it is first used: other engines do without them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from services.generation.answers import Reading, Sentence, read_answer, sentences_so_far
from services.generation.drafting import MOST_DRAFTED, Chained, Drafter, LmDrafter, Shipped
from services.generation.lookup import Lookup, PastAnswers
from services.generation.measuring import Speed, tokens_per_second
from services.generation.prompts import AnswerPrompt, answer_prompt, fields_of, json_prompt
from services.generation.quoting import Quoting, QuotingDrafter
from services.generation.sampling import Sampling, choose
from services.generation.speculating import Constraint, speculate
from services.generation.target import ContextOverflow, Generated, Target, TargetClosed, TargetState, VerifyingTarget
from services.generation.tokens import Detokenizer, TokenizerRefused, TokenText
from services.generation.verifying import Verdict, Verification

if TYPE_CHECKING:
    from services.generation.embedded import EmbeddedTarget
    from services.generation.extracting import filled
    from services.generation.grammar import (
        GrammarBroken,
        GrammarDrafter,
        JsonConstraint,
        JsonGrammar,
        SchemaRefused,
        Vocabulary,
    )
    from services.generation.lm import CausalLM, Context, ModelRefused
    from services.generation.writer import Extracted, Writer, Written

__all__ = [
    "MOST_DRAFTED",
    "AnswerPrompt",
    "CausalLM",
    "Chained",
    "Constraint",
    "Context",
    "ContextOverflow",
    "Detokenizer",
    "Drafter",
    "EmbeddedTarget",
    "Extracted",
    "Generated",
    "GrammarBroken",
    "GrammarDrafter",
    "JsonConstraint",
    "JsonGrammar",
    "LmDrafter",
    "Lookup",
    "ModelRefused",
    "PastAnswers",
    "Quoting",
    "QuotingDrafter",
    "Reading",
    "Sampling",
    "SchemaRefused",
    "Sentence",
    "Shipped",
    "Speed",
    "Target",
    "TargetClosed",
    "TargetState",
    "TokenText",
    "TokenizerRefused",
    "Verdict",
    "Verification",
    "VerifyingTarget",
    "Vocabulary",
    "Writer",
    "Written",
    "answer_prompt",
    "choose",
    "fields_of",
    "filled",
    "json_prompt",
    "read_answer",
    "sentences_so_far",
    "speculate",
    "tokens_per_second",
]

_LATE = {
    "EmbeddedTarget": "embedded",
    "filled": "extracting",
    "GrammarBroken": "grammar",
    "GrammarDrafter": "grammar",
    "JsonConstraint": "grammar",
    "JsonGrammar": "grammar",
    "SchemaRefused": "grammar",
    "Vocabulary": "grammar",
    "CausalLM": "lm",
    "Context": "lm",
    "ModelRefused": "lm",
    "Extracted": "writer",
    "Writer": "writer",
    "Written": "writer",
}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
