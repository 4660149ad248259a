"""Questions about invented passages, one sentence or row each, that the language-model pair was never trained on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from tidegate.infra.models import HERE

FILE = HERE / "data" / "heldout.jsonl"


@dataclass(frozen=True)
class HeldOut:
    """`cited` are the numbers of the passages that answer, in the order of the answer; () where none does."""

    question: str
    passages: tuple[str, ...]
    cited: tuple[int, ...]


@cache
def load_heldout() -> tuple[HeldOut, ...]:
    """All of them; six kinds in turn: one answer, one of several sentences, two answers, none, a row, a step."""
    lines = FILE.read_text("utf-8").splitlines()
    records = map(json.loads, lines)
    return tuple(HeldOut(one["question"], tuple(one["passages"]), tuple(one["cited"])) for one in records)
