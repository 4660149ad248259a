"""How fast a model continues a prompt, alone and with a drafter."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from tidegate.schemas import Speculation
from tidegate.services.llm.decoding.sampling import Sampling
from tidegate.services.llm.decoding.speculative import speculate
from tidegate.services.llm.drafters.drafters import MOST_DRAFTED, Drafter

if TYPE_CHECKING:
    from tidegate.services.llm.decoding.causal_lm import CausalLM


class Speed(msgspec.Struct, frozen=True):
    """Of the run of median length: tokens per second from the first token on, milliseconds to it and of a step."""

    tokens_per_second: float
    first_ms: float
    step_ms: float
    total_ms: float
    speculation: Speculation
    ids: tuple[int, ...]


def tokens_per_second(
    lm: CausalLM,
    prompt: Sequence[int],
    drafter: Callable[[], Drafter] | None = None,
    *,
    max_tokens: int = 64,
    k: int = MOST_DRAFTED,
    sampling: Sampling = Sampling(),  # noqa: B008 - frozen
    repeats: int = 3,
) -> Speed:
    """Generate `repeats` times with a fresh drafter each time. The ids are the same with any drafter: compare them."""
    runs = sorted(
        (_timed(lm, prompt, drafter, max_tokens, k, sampling) for _ in range(repeats)), key=lambda run: run.total_ms
    )
    return runs[len(runs) // 2]


def _timed(
    lm: CausalLM,
    prompt: Sequence[int],
    drafter: Callable[[], Drafter] | None,
    max_tokens: int,
    k: int,
    sampling: Sampling,
) -> Speed:
    begun = time.perf_counter()
    steps: list[float] = []
    told = speculate(
        lm,
        prompt,
        drafter() if drafter else None,
        sampling=sampling,
        k=k,
        max_tokens=max_tokens,
        said=lambda _: steps.append((time.perf_counter() - begun) * 1000),
    )
    total = (time.perf_counter() - begun) * 1000
    first = steps[0] if steps else total
    spans = [later - earlier for earlier, later in pairwise(steps)]
    behind = max(total - first, 1e-6)
    return Speed(
        tokens_per_second=max(0, told.speculation.tokens - 1) / behind * 1000,
        first_ms=first,
        step_ms=median(spans) if spans else 0.0,
        total_ms=total,
        speculation=told.speculation,
        ids=told.ids,
    )
