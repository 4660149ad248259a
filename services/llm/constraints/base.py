"""What a rule over tokens offers to decoding: JSON of a schema (`json_grammar`), quotations (`quoting`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tidegate.services.llm.model.sampling import Row, Sampling


class Constraint(Protocol):
    """What an answer must keep to. Belongs to one answer and knows how far that is."""

    def forced(self) -> list[int]:
        """The tokens that come next whatever the model wants, the end mark among them; [] where there is a choice."""

    def choose(self, row: Row, sampling: Sampling, position: int) -> int:
        """The model's choice among what is allowed."""

    def accept(self, ids: Sequence[int]) -> None:
        """`ids` were appended to the answer."""
