"""The lines of the bench about a site beside LiteLLM's proxy: p50, p95, capacity, first text; one process, then two.

Next: litellm_gateway.py, which measures them in one run for each number of processes.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import NamedTuple

from loadtests.bench.litellm_gateway import (
    AT_CLOUD,
    AT_EDGE,
    BEYOND,
    CAPACITY,
    CLOUD,
    FIRST,
    HOOKS,
    IN_FLIGHT,
    JUDGED,
    RATES,
    REPLIED,
    STREAMED,
    WHOLE,
    GatewayRun,
    Samples,
)
from loadtests.bench.litellm_proxy import VERSION, find_lacking
from loadtests.bench.measure import SIDES, Bar, Entry, Measurement, MeasurementError, Target, quantile

LOWER = Target("≤", 1.0)
IS_EDGE = (
    Bar(samples=AT_EDGE, quantile=0.0, target=Target("≥", 0.9), unit=""),
    Bar(samples=AT_EDGE, quantile=0.5, unit=""),
    *(Bar(samples=REPLIED, quantile=0.0, of=side, unit="") for side in SIDES),
)
"""What is called an answer of the edge was one, in every block."""

ValueOf = Callable[[Samples], float]


class GatewayLine(NamedTuple):
    """One entry, whatever the number of processes."""

    name: str
    unit: str
    target: Target
    value_of: ValueOf
    bars: tuple[Bar, ...]


async def gateway_blocks(repeats: int, *, run: GatewayRun, value_of: ValueOf) -> AsyncIterator[Measurement]:
    """What `value_of` makes of the samples of each round."""
    async with contextlib.aclosing(run.rounds(repeats)) as rounds:  # type: ignore[type-var]
        async for ours, peer in rounds:
            yield Measurement("ours", value_of(ours), ours)
            yield Measurement("peer", value_of(peer), peer)


def quantile_of(name: str, share: float) -> ValueOf:
    """The quantile of these samples. What it gives raises `MeasurementError` where there are none."""

    def value_of(samples: Samples) -> float:
        found = quantile(samples[name], share)
        if found is None:
            raise MeasurementError(f"no sample of {name}")
        return found

    return value_of


def time_bars(kind: str, share: float) -> tuple[Bar, ...]:
    """At every rate: the ratio, judged; ours and the peer's. With the peer's hooks on, the ratio and the peer's."""
    bars: list[Bar] = []
    for rate in RATES:
        name = f"{kind} {rate}/s"
        bars.append(Bar(samples=name, quantile=share, of="ratio", target=LOWER))
        bars += [Bar(samples=name, quantile=share, of=side) for side in ("ours", "peer")]
    hooked = f"{kind} {JUDGED}/s, {HOOKS}"
    return (*bars, Bar(samples=hooked, quantile=share, of="ratio"), Bar(samples=hooked, quantile=share, of="peer"))


def cloud_bars() -> tuple[Bar, ...]:
    """Questions that the edge leaves to the cloud: how much longer they take, and their first text."""
    first = f"{FIRST} {CLOUD}"
    return (
        Bar(samples=BEYOND, quantile=0.5, target=Target("≤", 10.0)),
        Bar(samples=first, quantile=0.5, of="ratio", target=LOWER),
        *(
            Bar(samples=f"{kind} {CLOUD}", quantile=0.5, of=side)
            for kind in (WHOLE, FIRST)
            for side in ("ours", "peer")
        ),
        Bar(samples=AT_CLOUD, quantile=0.5, target=Target("≥", 0.9), unit=""),
    )


def quantile_line(share: float) -> GatewayLine:
    """Whole answers and streamed ones, to their end, at a quantile."""
    name = f"p{share * 100:g}"
    bars = (*time_bars(WHOLE, share), *time_bars(STREAMED, share), *IS_EDGE)
    unit = f"ms to a whole answer of the edge at {JUDGED}/s, {name}"
    return GatewayLine(f"gateway_{name}_vs_litellm", unit, LOWER, quantile_of(f"{WHOLE} {JUDGED}/s", share), bars)


LINES = (
    quantile_line(0.5),
    quantile_line(0.95),
    GatewayLine(
        "gateway_capacity_vs_litellm",
        f"answers/s of the edge, {IN_FLIGHT} in flight",
        Target("≥", 1.25),
        quantile_of(CAPACITY, 0.5),
        (
            *IS_EDGE,
            Bar(samples=f"{CAPACITY}, {HOOKS}", quantile=0.5, of="ratio", unit="/s"),
            Bar(samples=f"{CAPACITY}, {HOOKS}", quantile=0.5, of="peer", unit="/s"),
        ),
    ),
    GatewayLine(
        "gateway_stream_ttft_vs_litellm",
        f"ms to the first text of the edge at {JUDGED}/s, p50",
        LOWER,
        quantile_of(f"{FIRST} {JUDGED}/s", 0.5),
        (*time_bars(FIRST, 0.5), *cloud_bars(), *IS_EDGE),
    ),
)


def entries_of(workers: int) -> tuple[Entry, ...]:
    """The lines with so many processes on each side, all of one run."""
    run = GatewayRun(workers)
    processes = "one process" if workers == 1 else f"{workers} processes; ours are as many sites"
    return tuple(
        Entry(
            name=line.name if workers == 1 else f"{line.name}_{workers}_processes",
            unit=line.unit,
            peer_name=f"LiteLLM proxy {VERSION}, hooks off, before a model that answers at once; {processes}",
            target=line.target,
            blocks=partial(gateway_blocks, run=run, value_of=line.value_of),
            bars=line.bars,
            find_lacking=find_lacking,
        )
        for line in LINES
    )


LITELLM_ENTRIES = (*entries_of(1), *entries_of(2))
