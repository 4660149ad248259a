"""A question after screening, and the work that it asks for; next: schemas/plan.py."""

from __future__ import annotations

from typing import Literal

import msgspec

from tidegate.schemas.message import Share

Workload = Literal["classify", "extract", "assist"]


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A question after screening: `text` holds vault tokens where it held personal data.

    Only the prefilter makes one from a person's words. This is the only form in which a question crosses the leaf.
    """

    text: str
    language: str
    intent: str
    intent_confidence: Share
    workload: Workload = "assist"
    schema: str = ""
    vault_tokens: tuple[str, ...] = ()
