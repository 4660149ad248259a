"""Conditions of rules, in CEL: checked for names, types and cost when they are read, asked of the facts of an answer.

The only file that imports the engine (cel-expr-python, decision 0036). Promises that what is no clear yes or no is an
error, never a no. Next: facts.py, what a condition may ask; condition_cost.py, how large it may be.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from tidegate.schemas import TidegateError
from tidegate.services.policies.condition_cost import find_cost_fault, list_patterns
from tidegate.services.policies.facts import FACTS, ConditionFailedError, Facts

CHUNK = 50
"""Conditions that are asked as one: a call of the engine costs more than most conditions."""
_FAULT = re.compile(r"<input>:(\d+):(\d+): ([^\n]*)")
_UNKNOWN = re.compile(r"undeclared reference to '([^']*)'")


class ConditionError(TidegateError, ValueError):
    """A condition cannot be asked. `line` counts from 1, within the condition."""

    hint = "a condition compares facts, as in: language == 'de' && confidence < 0.8"

    def __init__(self, line: int, reason: str, hint: str = "") -> None:
        super().__init__(reason, hint)
        self.line = line


class EngineMissingError(TidegateError, ImportError):
    """The policies have conditions, and the engine that reads them is not installed."""

    hint = "pip install 'tidegate[edge]'"


@dataclass(frozen=True)
class BoundFacts:
    """Facts as the engine takes them, for all conditions that are asked of one case."""

    activation: Any


def bind(facts: Facts) -> BoundFacts:
    """Raises `ConditionFailedError` for facts that the engine does not take, `EngineMissingError`."""
    named = {each.name.rstrip("_"): getattr(facts, each.name) for each in fields(facts)}
    named = {name: list(value) if isinstance(value, tuple) else value for name, value in named.items()}
    try:
        return BoundFacts(_environment()[0].Activation(named))
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConditionFailedError(_shorten(str(error))) from error


@dataclass(frozen=True)
class Condition:
    """A condition that was checked. Two are equal where their texts are."""

    source: str
    _compiled: Any = field(repr=False, compare=False)

    def holds(self, facts: BoundFacts) -> bool:
        """Whether it holds. Raises `ConditionFailedError` where it is neither true nor false."""
        return _ask(self._compiled, facts)

    def negated(self) -> Condition:
        """What holds where this does not, and fails where this fails."""
        source = f"!({self.source}\n)"
        return Condition(source, _compile(source))


def compile_condition(source: str) -> Condition:
    """Raises `ConditionError` for what is no condition, `EngineMissingError`."""
    fault = find_cost_fault(source)
    if fault is not None:
        raise ConditionError(fault.line, fault.reason, fault.hint)
    for pattern in list_patterns(source):
        try:
            _ask(_compile(f"''.matches({pattern.text})"), BoundFacts(_environment()[0].Activation({})))
        except ConditionFailedError as error:
            raise ConditionError(pattern.line, error.reason, "patterns are written in the syntax of RE2") from error
    compiled = _compile(source)
    kind = compiled.return_type().name()
    if kind != "BOOL":
        raise ConditionError(1, f"the condition is {kind}, neither true nor false", "compare it: citations > 0")
    return Condition(source, compiled)


@dataclass(frozen=True)
class ConditionSet:
    """Conditions that are asked together, `CHUNK` in one call: each is a bit of the number that the call gives."""

    conditions: tuple[Condition, ...] = ()
    _chunks: tuple[Any, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def of(cls, conditions: Sequence[Condition]) -> ConditionSet:
        """All of these, which were checked one by one."""
        groups = (conditions[at : at + CHUNK] for at in range(0, len(conditions), CHUNK))
        return cls(tuple(conditions), tuple(_compile_chunk(group) for group in groups))

    def find(self, facts: BoundFacts) -> Iterator[tuple[int, str]]:
        """The positions of those that hold, each with an empty text, and of those that failed, with the reason."""
        for number, chunk in enumerate(self._chunks):
            first = number * CHUNK
            group = self.conditions[first : first + CHUNK]
            bits = None if chunk is None else _ask_bits(chunk, facts)
            if bits is None:
                yield from _ask_each(group, facts, first)
            elif bits:
                yield from ((first + bit, "") for bit in range(len(group)) if bits >> bit & 1)


def _compile_chunk(group: Sequence[Condition]) -> Any:
    """None where they are too deep together, though none of them is alone."""
    try:
        return _compile(_sum([f"(({each.source}\n) ? {1 << bit} : 0)" for bit, each in enumerate(group)]))
    except ConditionError:
        return None


def _sum(terms: Sequence[str]) -> str:
    """Added in halves: the engine takes a chain of sums for as many levels."""
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return f"({_sum(terms[:half])} + {_sum(terms[half:])})"


def _ask_bits(chunk: Any, facts: BoundFacts) -> int | None:
    """Which of the conditions hold; None where one of them fails, for then the sum does."""
    try:
        value = chunk.eval(facts.activation)
    except (RuntimeError, TypeError, ValueError):
        return None
    return int(value.value()) if value.type().name() == "INT" else None


def _ask_each(group: Sequence[Condition], facts: BoundFacts, first: int) -> Iterator[tuple[int, str]]:
    for position, condition in enumerate(group, first):
        try:
            if condition.holds(facts):
                yield position, ""
        except ConditionFailedError as error:
            yield position, error.reason


def _ask(compiled: Any, facts: BoundFacts) -> bool:
    """What it says of the facts. Raises `ConditionFailedError`: the engine returns errors as values, or raises."""
    try:
        value = compiled.eval(facts.activation)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConditionFailedError(_shorten(str(error))) from error
    if value.type().name() != "BOOL":
        raise ConditionFailedError(_shorten(str(value.value())))
    return bool(value.value())


def _compile(source: str) -> Any:
    """Raises `ConditionError` with the line of the first fault, `EngineMissingError`."""
    environment, _ = _environment()
    try:
        return environment.compile(source)
    except (RuntimeError, ValueError) as error:
        found = _FAULT.search(str(error))
        if found is None:
            raise ConditionError(1, _shorten(str(error))) from error
        line, column, reason = int(found[1]), int(found[2]), found[3]
        raise ConditionError(line, f"{_shorten(reason)}, at character {column}", _hint_for(reason)) from error


@cache
def _environment() -> tuple[Any, Any]:
    """The engine's environment, with the facts as its variables, and the engine."""
    try:
        from cel_expr_python import cel  # of the extra `edge`; a policy without conditions does without it
    except ImportError as error:
        raise EngineMissingError("conditions of policies need cel-expr-python") from error
    kinds = {
        "str": cel.Type.STRING,
        "int": cel.Type.INT,
        "float": cel.Type.DOUBLE,
        "bool": cel.Type.BOOL,
        "tuple[str, ...]": cel.Type.List(cel.Type.STRING),
        "dict[str, float]": cel.Type.Map(cel.Type.STRING, cel.Type.DOUBLE),
    }
    return cel.NewEnv(variables={name: kinds[kind] for name, kind in FACTS.items()}), cel


def _hint_for(reason: str) -> str:
    unknown = _UNKNOWN.search(reason)
    if unknown is not None:
        near = difflib.get_close_matches(unknown[1], FACTS, 1)
        return f"did you mean {near[0]}?" if near else f"the facts are {', '.join(FACTS)}"
    if "double" in reason and "int" in reason:
        return "a share is compared with a number that has a point: 1.0, not 1"
    return ConditionError.hint


def _shorten(text: str) -> str:
    """One line, without the engine's codes."""
    line = text.splitlines()[0] if text else "the engine gives no reason"
    return re.sub(r" *\[[A-Z_]+\]$", "", re.sub(r"^[A-Z_]+: ", "", line))[:200]
