"""200 conditional rules under our policy evaluation, and the same rules in Rego through regopy, on the same cases.

Both get the case as it comes and say which rules act; before anything is timed, they must say the same of every case.
Judged is the CPU time of the thread: on a machine with other work the slowest cases are those that waited for a core.
Next: policy_rules.py, the rules.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import importlib.util
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from loadtests.bench.measure import Bar, Entry, Measurement, MeasurementError, Sampled, Target, interleaved
from loadtests.bench.policy_rules import make_cases, make_rules, write_module, write_policy
from tidegate.services.policies.case import Case
from tidegate.services.policies.evaluation import evaluate
from tidegate.services.policies.facts import Facts, gather_facts
from tidegate.services.policies.language import load_policies

CASES, SEED = 300, 11
Decided = Callable[[Case], frozenset[str]]


def find_lacking() -> str:
    """What the entry cannot be measured without."""
    is_there = importlib.util.find_spec("regopy") is not None
    return "" if is_there else "no regopy (pip install 'tidegate[bench]')"


def ours() -> Decided:
    """Our whole evaluation of a policy with the rules."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.yaml"
        file.write_text(write_policy(make_rules()), encoding="utf-8")
        policies = load_policies([file])

    def decide(case: Case) -> frozenset[str]:
        found = evaluate(case, policies, lambda _: ())
        return frozenset(each.rule.partition("/")[2] for each in found.decisions if each.verb == "block")

    return decide


def rego() -> Decided:
    """The rules compiled into a bundle once, and asked of the facts of a case."""
    interpreter = importlib.import_module("regopy").Interpreter()
    interpreter.add_module("bench", write_module(make_rules()))
    bundle = interpreter.build("x = data.bench.block", [])

    def decide(case: Case) -> frozenset[str]:
        interpreter.set_input(_named(gather_facts(case.question, case.answer, case.here)))
        output = interpreter.query_bundle(bundle)  # a node of it is memory of its own, gone with it
        acting: list[str] = msgspec.json.decode(str(output.binding("x").json()))
        return frozenset(acting)

    return decide


def _named(facts: Facts) -> dict[str, Any]:
    return {name.rstrip("_"): value for name, value in dataclasses.asdict(facts).items()}


def check_agreement(sides: Sequence[Decided], cases: Sequence[Case]) -> int:
    """How many rules acted in all cases together. Raises `MeasurementError` where the sides differ, or none did."""
    acted = 0
    for number, case in enumerate(cases):
        first, second = (side(case) for side in sides)
        if first != second:
            raise MeasurementError(f"policy_vs_rego: case {number} is decided otherwise: {sorted(first ^ second)}")
        acted += len(first)
    if not acted:
        raise MeasurementError("policy_vs_rego: no rule acted in any case")
    return acted


async def blocks(repeats: int) -> AsyncIterator[Measurement]:
    """Milliseconds a case: the median, and every case as a sample."""
    sides = await asyncio.to_thread(lambda: (ours(), rego()))
    await asyncio.to_thread(check_agreement, sides, list(make_cases(CASES, SEED)))

    async def block(side: Decided) -> Sampled:
        return await asyncio.to_thread(time_cases, side, list(make_cases(CASES, SEED)))

    async for each in interleaved(repeats, *(partial(block, side) for side in sides)):
        yield each


def time_cases(side: Decided, cases: Sequence[Case]) -> Sampled:
    """Each case is new to the side: nothing of it was reckoned before."""
    took, worked = [], []
    for case in cases:
        began_s, began_cpu_s = time.perf_counter(), time.thread_time()
        side(case)
        worked.append((time.thread_time() - began_cpu_s) * 1000)
        took.append((time.perf_counter() - began_s) * 1000)
    return Sampled(statistics.median(took), {"a case": tuple(took), "a case, CPU": tuple(worked)})


POLICY_VS_REGO = Entry(
    name="policy_vs_rego",
    unit="ms for 200 rules, p50",
    peer_name="the same rules in Rego, compiled to a bundle, through regopy",
    target=Target("≤", 0.5),
    blocks=blocks,
    bars=(
        Bar(samples="a case, CPU", quantile=0.99, target=Target("≤", 1.0)),
        Bar(samples="a case", quantile=0.99),
        Bar(samples="a case", quantile=0.99, of="peer"),
        Bar(samples="a case, CPU", quantile=0.99, of="peer"),
    ),
    find_lacking=find_lacking,
)
