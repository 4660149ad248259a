"""Runs inside vLLM's environment: measures blocks of two sides in one process and prints them as JSON, one a line."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from loadtests.bench.measure import interleaved
from tidegate.services.llm.decoding.speculative import Generated
from tidegate.services.llm.targets.vllm.engine import EngineSettings
from tidegate.services.llm.targets.vllm.target import VllmRequest, VllmTarget

MOST_TOKENS = 64


class Case(msgspec.Struct, frozen=True):
    """One prompt, the draft that the site ships for it, and one as long in which no token can be right."""

    prompt: tuple[int, ...]
    draft: tuple[int, ...]
    wrong: tuple[int, ...]


class Asked(msgspec.Struct, frozen=True):
    """What the bench wants measured."""

    entry: str
    repeats: int
    model: str
    cases: list[Case]


class TextChanged(AssertionError):
    """Two sides answered one prompt differently; then no time of theirs can be compared."""


Drafting = Callable[[Case], Sequence[int]]


def plain(_: Case) -> Sequence[int]:
    return ()


def shipped(case: Case) -> Sequence[int]:
    return case.draft


def wrong(case: Case) -> Sequence[int]:
    return case.wrong


class Side:
    """One engine and one way of drafting. Every answer of every block is compared with the first one given."""

    def __init__(
        self,
        target: VllmTarget,
        drafting: Drafting,
        cases: Sequence[Case],
        answers: dict[int, tuple[int, ...]],
        *,
        lookup: bool = False,
    ) -> None:
        """`lookup`: our proposer may look in the prompt too, as it does for every request of the hub."""
        self._target = target
        self._drafting = drafting
        self._cases = cases
        self._answers = answers
        self._lookup = lookup

    async def steps(self) -> float:
        """Mean forward passes for an answer."""
        return statistics.mean([(await self._ask(number)).speculation.steps for number in range(len(self._cases))])

    async def time_ms(self) -> float:
        """Median time to the final token, one request in flight."""
        times_ms = []
        for number in range(len(self._cases)):
            began = time.perf_counter()
            await self._ask(number)
            times_ms.append((time.perf_counter() - began) * 1e3)
        return statistics.median(times_ms)

    async def _ask(self, number: int) -> Generated:
        case = self._cases[number]
        outcome = await self._target.generate(
            VllmRequest(
                rid=f"case-{number}",
                prompt=case.prompt,
                draft=self._drafting(case),
                max_tokens=MOST_TOKENS,
                lookup=self._lookup,
            )
        )
        if self._answers.setdefault(number, outcome.ids) != outcome.ids:
            raise TextChanged(f"case {number}: {self._answers[number]} and {outcome.ids}")
        return outcome


async def measured(asked: Asked, out: BinaryIO) -> None:
    """Open what the entry needs, measure, print.

    Both sides quote, as the hub does. The peer is plain, or vLLM's own speculation. A wrong draft has no prompt lookup
    behind it, which would hide what it costs.
    """
    is_wrong = asked.entry == "vllm_time_wrong_draft"
    ours = await VllmTarget.open(asked.model, settings=EngineSettings(quotes=True))
    peer = ours
    if asked.entry == "vllm_time_vs_ngram":
        peer = await VllmTarget.open(asked.model, settings=EngineSettings(quotes=True, proposer="ngram"))
    answers: dict[int, tuple[int, ...]] = {}
    sides = [
        Side(ours, wrong if is_wrong else shipped, asked.cases, answers, lookup=not is_wrong),
        Side(peer, plain, asked.cases, answers),
    ]
    blocks: list[Callable[[], Awaitable[float]]] = [
        side.steps if asked.entry == "vllm_steps_shipped_draft" else side.time_ms for side in sides
    ]
    try:
        async for block in interleaved(asked.repeats, *blocks):
            out.write(msgspec.json.encode({"side": block.side, "value": block.value}) + b"\n")
            out.flush()
    finally:
        for target in {ours, peer}:
            await target.close()


def main() -> None:
    """Read what is asked from the file that the first argument names."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # vLLM's processes print; what the bench reads are blocks alone
    asked = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Asked)
    asyncio.run(measured(asked, out))


if __name__ == "__main__":
    main()
