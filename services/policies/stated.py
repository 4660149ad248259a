"""Rules that a policy states itself, each by a name, a condition and what is said where it acts.

Pure. Next: conditions.py; services/policies/rule_items.py, which reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tidegate.services.policies.case import Case
from tidegate.services.policies.conditions import Condition, ConditionSet
from tidegate.services.policies.facts import ConditionFailedError


@dataclass(frozen=True)
class StatedRule:
    """Under `block` it stops an answer for which its condition holds, under `allow` one for which it does not."""

    name: str
    condition: Condition
    reason: str


@dataclass(frozen=True)
class StatedRules:
    """The rules that a policy states under one key, asked all together."""

    rules: tuple[StatedRule, ...] = ()
    _asked: ConditionSet = field(default_factory=ConditionSet, repr=False, compare=False)

    @classmethod
    def under(cls, part: str, rules: Sequence[StatedRule]) -> StatedRules:
        """Those under `allow` act where their condition does not hold."""
        asked = [rule.condition.negated() if part == "allow" else rule.condition for rule in rules]
        return cls(tuple(rules), ConditionSet.of(asked))

    def find_acting(self, case: Case) -> Iterator[tuple[StatedRule, str]]:
        """Those that act on the case, each with an empty text, and those that failed, with the reason."""
        if not self.rules:
            return
        try:
            bound = case.bound
        except ConditionFailedError as error:
            yield from ((rule, error.reason) for rule in self.rules)
            return
        for position, failure in self._asked.find(bound):
            yield self.rules[position], failure
