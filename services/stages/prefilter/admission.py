"""What holds for a request from its first stage to its last: what is in force, and what the site gives up for its age.

Next: handler.py, which screens under it."""

from __future__ import annotations

from typing import NamedTuple

from tidegate.schemas import Degradation, Fact, replace


class Admission(NamedTuple):
    """Under which generation of what is in force a request is screened, and what the site gives up for its age."""

    generation: int = 0
    degradations: tuple[Degradation, ...] = ()

    @property
    def is_closed(self) -> bool:
        """Whether nothing may be answered."""
        return any(made.level == "abstain" for made in self.degradations)

    def stamp(self, fact: Fact) -> Fact:
        """The first fact of a request, with what holds for all that follow from it."""
        return replace(fact, generation=self.generation, degradations=self.degradations)


AT_FULL_SERVICE = Admission()
