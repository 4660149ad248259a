"""How much a condition may cost, by its words alone: before the engine sees it, and whatever it will be asked of.

Pure. Promises that what passes ends soon: loops are multiplied out over the longest lists that facts can be. Next:
conditions.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tidegate.services.policies.facts import MOST_LISTED

MOST_CHARACTERS = 1_000
MOST_DEPTH = 12
MOST_COST, MOST_OF_A_POLICY = 100_000, 500_000
"""Steps of a condition, and of all conditions of a policy together; the slowest take some 80 nanoseconds each."""
LONG = {"text": 100, "folded_text": 100, "question": 30}
"""Facts of which a look takes as many steps as any other word does: they are texts."""
LOOPS = frozenset({"all", "exists", "exists_one", "existsOne", "map", "filter"})
FORBIDDEN = {"dyn": "dyn() switches the checking of types off", "type": "type() takes no part in a decision"}

_TOKEN = re.compile(
    r"""(?P<blank>\s+|//[^\n]*)
    |(?P<text>[rRbB]{0,2}(?:\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<name>[A-Za-z_]\w*)
    |(?P<number>\d[\w.]*)
    |(?P<sign>&&|\|\||[<>=!]=|.)""",
    re.VERBOSE | re.DOTALL,
)


class ConditionToken(NamedTuple):
    """A word, sign, number or quoted text of a condition; `line` counts from 1."""

    kind: str
    text: str
    line: int


@dataclass(frozen=True)
class CostFault:
    """Why a condition is not taken, and what to write instead."""

    line: int
    reason: str
    hint: str


def scan_condition(source: str) -> Iterator[ConditionToken]:
    """The tokens of a condition. Characters that begin none are signs of their own: the engine refuses them."""
    for match in _TOKEN.finditer(source):
        if match.lastgroup and match.lastgroup != "blank":
            yield ConditionToken(match.lastgroup, match.group(), source.count("\n", 0, match.start()) + 1)


def find_cost_fault(source: str) -> CostFault | None:
    """The first reason for which a condition is too large or cannot be bounded; None where it is neither."""
    if len(source) > MOST_CHARACTERS:
        hint = f"at most {MOST_CHARACTERS} are read: split it into several rules"
        return CostFault(1, f"the condition has {len(source)} characters", hint)
    tokens = list(scan_condition(source))
    return _find_forbidden(tokens) or _find_pattern_fault(tokens) or _find_depth_fault(tokens)


def list_patterns(source: str) -> list[ConditionToken]:
    """The regular expressions in a condition, quoted as they stand there."""
    tokens = list(scan_condition(source))
    return [tokens[at + 2] for at, each in enumerate(tokens[:-2]) if each.text == "matches"]


def _find_forbidden(tokens: Sequence[ConditionToken]) -> CostFault | None:
    for at, each in enumerate(tokens):
        is_called = at + 1 < len(tokens) and tokens[at + 1].text == "("
        if each.kind == "name" and each.text in FORBIDDEN and is_called:
            return CostFault(each.line, FORBIDDEN[each.text], "compare the fact itself")
    return None


def _find_pattern_fault(tokens: Sequence[ConditionToken]) -> CostFault | None:
    """A pattern has to be written out: what an answer says must never be taken for one."""
    for at, each in enumerate(tokens):
        if each.kind != "name" or each.text != "matches":
            continue
        around = [token.kind if token.kind == "text" else token.text for token in tokens[max(0, at - 1) : at + 4]]
        if around != [".", "matches", "(", "text", ")"]:
            return CostFault(each.line, "matches takes one pattern in quotes", "text.matches('[0-9]+ euros')")
    return None


def reckon_cost(source: str) -> int:
    """The most steps that a condition can take: a word or sign counts once for every turn of the loops around it."""
    return sum(_weigh(each) for each in _with_loops(list(scan_condition(source))))


def _find_depth_fault(tokens: Sequence[ConditionToken]) -> CostFault | None:
    """Brackets within each other, and loops within loops with what is done in them."""
    cost = 0
    for each in _with_loops(tokens):
        if each.brackets > MOST_DEPTH:
            return CostFault(
                each.token.line, "brackets are nested too deeply", f"at most {MOST_DEPTH} within each other"
            )
        cost += _weigh(each)
        if cost > MOST_COST:
            hint = f"it may take {MOST_COST} steps: fewer loops within each other, and no text within two"
            return CostFault(each.token.line, "the condition could take too long", hint)
    return None


class _Inside(NamedTuple):
    """A token, and how many brackets and loops it stands in."""

    token: ConditionToken
    brackets: int
    loops: int


def _with_loops(tokens: Sequence[ConditionToken]) -> Iterator[_Inside]:
    around: list[bool] = []
    for at, each in enumerate(tokens):
        if each.kind == "sign" and each.text in "([{":
            is_call = at > 1 and tokens[at - 2].text == "." and tokens[at - 1].text in LOOPS
            around.append(is_call and each.text == "(")
        elif each.kind == "sign" and each.text in ")]}" and around:
            around.pop()
        yield _Inside(each, len(around), sum(around))


def _weigh(inside: _Inside) -> int:
    weight = LONG.get(inside.token.text, 1) if inside.token.kind == "name" else 1
    return int(weight * MOST_LISTED**inside.loops)
