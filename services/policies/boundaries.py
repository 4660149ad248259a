"""What a policy keeps answers within: the languages of questions, how far questions may go, and which tools may help.

Types and pure rules. Next: evaluation.py, which judges by them; services/stages/router, which plans by `residency`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tidegate.schemas import Question

LANGUAGES, RESIDENCY, TOOLS = "languages", "residency", "tools"
BOUNDARIES = (LANGUAGES, RESIDENCY, TOOLS)
"""Keys of a policy: a list of languages, for classes of questions where these stay, and a list of tools."""
Residence = Literal["site", "hub"]
RESIDENCES: tuple[Residence, ...] = ("site", "hub")
"""How far a question may go: `site` keeps it at the site that was asked, `hub` lets the hub be asked too."""
OTHERS = "default"
"""Stands in `residency` for every class that is not named there."""


@dataclass(frozen=True)
class Boundaries:
    """Those of one policy. No `languages`: any. No `tools` (None): it says nothing of tools."""

    languages: frozenset[str] = frozenset()
    residency: Mapping[str, Residence] = field(default_factory=dict)
    tools: frozenset[str] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing at all."""
        return not self.languages and not self.residency and self.tools is None

    def residence_of(self, question: Question) -> Residence:
        """How far the question may go: by its intent, else by its workload, else by `default`, else to the hub."""
        named = (self.residency.get(each) for each in (question.intent, question.workload, OTHERS))
        return next((each for each in named if each is not None), "hub")
