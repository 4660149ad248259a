"""What a policy is, and the four kinds of rules that it is made of: pure types, no rule among them.

Next: services/policies/registry.py, every rule by its name; services/policies/language.py, the files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tidegate.schemas import Answer, Question
from tidegate.services.privacy.dlp.finding import Finding

FindPersonal = Callable[[str], Sequence[Finding]]
"""The personal data in a text."""


class AllowRule(Protocol):
    def __call__(self, answer: Answer) -> tuple[bool, str]:
        """Whether the answer may pass, and why or why not."""
        ...


class TransformRule(Protocol):
    def __call__(self, answer: Answer, find_personal: FindPersonal) -> tuple[Answer, str]:
        """The answer as it may pass, and what was changed in it; empty when nothing was."""
        ...


class BlockRule(Protocol):
    def __call__(self, question: Question, answer: Answer) -> str:
        """Why the answer may not pass; empty when it may."""
        ...


class ScoreRule(Protocol):
    def __call__(self, answer: Answer) -> float | None:
        """The answer's score in 0…1; None where it cannot have one, or has not been measured though it should."""
        ...


@dataclass(frozen=True)
class Policy:
    """One policy in force. `version` is the first 12 hex digits of the sha256 of its canonical JSON."""

    id: str
    version: str
    allow: Mapping[str, AllowRule]
    transform: Mapping[str, TransformRule]
    block: Mapping[str, BlockRule]
    abstain_thresholds: Mapping[str, tuple[ScoreRule, float]]
