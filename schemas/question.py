"""A question after screening, and the work that it asks for; next: schemas/plan.py."""

from __future__ import annotations

from hashlib import sha256
from typing import Literal

import msgspec

from tidegate.schemas.message import Share

Workload = Literal["classify", "extract", "assist"]
RewrittenBy = Literal["rules"]
"""What can make a standalone question of a follow-up."""


class Turn(msgspec.Struct, frozen=True):
    """What was said before the question, and by which side."""

    role: Literal["user", "assistant"]
    text: str


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A question after screening: `text` holds vault tokens where it held personal data.

    Only the prefilter makes one from a person's words. This is the only form in which a question crosses the leaf.
    `rewritten_by`: what made a standalone question of a follow-up in a conversation; empty where `text` is as asked.
    `instructions` are the asker's to a model that writes the answer, with vault tokens for personal data.
    """

    text: str
    language: str
    intent: str
    intent_confidence: Share
    workload: Workload = "assist"
    schema: str = ""
    vault_tokens: tuple[str, ...] = ()
    rewritten_by: RewrittenBy | Literal[""] = ""
    instructions: str = ""


def digest_of(instructions: str) -> str:
    """How a receipt names instructions: the first 12 hex digits of their sha256; empty for none."""
    return sha256(instructions.encode()).hexdigest()[:12] if instructions else ""
