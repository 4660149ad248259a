"""Rules that a policy states itself, each by a name, a condition or phrases, and what is said where it acts.

Pure. Next: conditions.py; phrases.py; services/policies/rule_items.py, which reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tidegate.services.policies.case import Case
from tidegate.services.policies.conditions import Condition, ConditionSet
from tidegate.services.policies.facts import ConditionFailedError
from tidegate.services.policies.phrases import compile_plain_phrases, normalise, states_any


@dataclass(frozen=True)
class StatedRule:
    """Under `block` it stops an answer for which its condition holds and that states one of its phrases, where it has
    either; under `allow`, where it has a condition only, one for which that does not hold."""

    name: str
    condition: Condition | None
    reason: str
    phrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By language; each is looked for in every answer, for answers quote documents of any language."""

    @property
    def cases(self) -> str:
        """What tells it apart from other rules of its name."""
        listed = "".join(f" {language}: {', '.join(each)}" for language, each in sorted(self.phrases.items()))
        return f"{self.condition.source if self.condition else 'any'}{f' phrases{listed}' if listed else ''}"


@dataclass(frozen=True)
class StatedRules:
    """The rules that a policy states under one key: their conditions are asked all together."""

    rules: tuple[StatedRule, ...] = ()
    _asked: ConditionSet = field(default_factory=ConditionSet, repr=False, compare=False)
    _patterns: Mapping[str, re.Pattern[str]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def under(cls, part: str, rules: Sequence[StatedRule]) -> StatedRules:
        """Those under `allow` act where their condition does not hold."""
        conditions = [rule.condition for rule in rules if rule.condition is not None]
        asked = [condition.negated() if part == "allow" else condition for condition in conditions]
        patterns = {rule.name: compile_plain_phrases(rule.phrases) for rule in rules if rule.phrases}
        return cls(tuple(rules), ConditionSet.of(asked), patterns)

    def find_acting(self, case: Case) -> Iterator[tuple[StatedRule, str]]:
        """Those that act on the case, each with an empty text, and those whose condition failed, with the reason."""
        text = normalise(case.answer.text) if self._patterns else ""
        for rule, failure in self._find_by_condition(case):
            if failure or self._is_stated(rule, text):
                yield rule, failure
        yield from ((rule, "") for rule in self.rules if rule.condition is None and self._is_stated(rule, text))

    def _find_by_condition(self, case: Case) -> Iterator[tuple[StatedRule, str]]:
        asked = [rule for rule in self.rules if rule.condition is not None]
        if not asked:
            return
        try:
            bound = case.bound
        except ConditionFailedError as error:
            yield from ((rule, error.reason) for rule in asked)
            return
        for position, failure in self._asked.find(bound):
            yield asked[position], failure

    def _is_stated(self, rule: StatedRule, text: str) -> bool:
        pattern = self._patterns.get(rule.name)
        return pattern is None or states_any(text, (pattern,))
