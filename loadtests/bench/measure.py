"""Measures two sides in one run, block by block, and says whether their ratio holds."""

from __future__ import annotations

import math
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Literal

import msgspec

Side = Literal["ours", "peer"]
SIDES: tuple[Side, Side] = ("ours", "peer")
MIN_REPEATS = 5
Samples = dict[Side, dict[str, list[float]]]

Reported = Callable[[], None]


class Sampled(msgspec.Struct, frozen=True):
    """What a block came to, in the entry's unit, with the single samples that bars look at, by name."""

    value: float
    samples: dict[str, tuple[float, ...]] = {}


Block = Callable[[], Awaitable[float | Sampled]]


class Measurement(msgspec.Struct, frozen=True):
    """One block of one side, in the entry's unit, and its samples where it has any."""

    side: Side
    value: float
    samples: dict[str, tuple[float, ...]] = {}


class Target(msgspec.Struct, frozen=True):
    """What the ratio ours / peer must be for the entry to hold."""

    relation: Literal["≤", "≥"]
    bound: float

    def holds(self, ratio: float) -> bool:
        return ratio <= self.bound if self.relation == "≤" else ratio >= self.bound

    def __str__(self) -> str:
        shown = f"{self.bound:.1f}" if round(self.bound, 1) == self.bound else f"{self.bound:g}"
        return f"{self.relation} {shown}"


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A bound that no ratio of medians can hold: on a quantile (1.0: the highest) of the samples of all blocks.

    `of` says whose, `ratio` that ours are divided by the peer's. Without a target it is reported and not judged.
    """

    samples: str
    quantile: float
    target: Target | None = None
    unit: str = "ms"
    of: Literal["ours", "peer", "ratio"] = "ours"

    def __str__(self) -> str:
        whose = {"ours": "", "peer": "peer's ", "ratio": "ratio of "}[self.of]
        which = {0.0: "lowest", 1.0: "highest"}.get(self.quantile, f"p{self.quantile * 100:g}")
        return f"{whose}{self.samples}, {which}"


class MeasurementError(RuntimeError):
    """An entry could not be measured to its end; the message says why."""


def _lacks_nothing() -> str:
    return ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the bench. `blocks(repeats)` yields `repeats` measurements of each side, alternating.

    `find_lacking()` says what this machine has not got that the entry needs; empty where all is there.
    """

    name: str
    unit: str
    peer_name: str
    target: Target
    blocks: Callable[[int], AsyncIterator[Measurement]]
    bars: tuple[Bar, ...] = ()
    find_lacking: Callable[[], str] = _lacks_nothing


class Held(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a bar; `value` is None where there was no sample, and then a target does not hold."""

    name: str
    value: float | None
    unit: str
    target: str = ""
    holds: bool | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One object of bench.json: medians over the blocks, and `ratio` of ours to the peer's.

    `holds` says that the ratio does, and every bar that is judged.
    """

    name: str
    ours: float
    peer: float
    peer_name: str
    unit: str
    ratio: float
    target: str
    holds: bool
    bars: tuple[Held, ...] = ()


class Measured(msgspec.Struct, frozen=True):
    """A result with the blocks that it rests on."""

    result: Result
    ours: tuple[float, ...]
    peer: tuple[float, ...]


async def interleaved(repeats: int, ours: Block, peer: Block, *, is_warm: bool = False) -> AsyncIterator[Measurement]:
    """Run the sides in turn, each first every other time, so that a drift of the machine meets both alike.

    One block of each side is run before and thrown away, but for sides that have been warmed otherwise (`is_warm`).
    """
    sides: dict[Side, Block] = {"ours": ours, "peer": peer}
    for side in () if is_warm else SIDES:
        await sides[side]()
    for number in range(repeats):
        for side in SIDES if number % 2 == 0 else reversed(SIDES):
            outcome = await sides[side]()
            if isinstance(outcome, Sampled):
                yield Measurement(side, outcome.value, outcome.samples)
            else:
                yield Measurement(side, outcome)


async def measure(entry: Entry, repeats: int, report_block: Reported) -> Measured:
    """Measure one entry; `report_block` receives every block. Raises `ValueError` when a side has fewer than five
    blocks.
    """
    values: dict[Side, list[float]] = {"ours": [], "peer": []}
    samples: Samples = {"ours": {}, "peer": {}}
    async with aclosing(entry.blocks(repeats)) as blocks:  # type: ignore[type-var]
        async for block in blocks:
            values[block.side].append(block.value)
            for name, more in block.samples.items():
                samples[block.side].setdefault(name, []).extend(more)
            report_block()
    return judged(entry, values["ours"], values["peer"], samples)


def judged(entry: Entry, ours: Sequence[float], peer: Sequence[float], samples: Samples | None = None) -> Measured:
    """Medians, their ratio, the verdict. Raises `ValueError` when a side has fewer than five blocks."""
    if min(len(ours), len(peer)) < MIN_REPEATS:
        raise ValueError(f"{entry.name}: a median needs {MIN_REPEATS} blocks a side, not {len(ours)} and {len(peer)}")
    middle, peers_middle = statistics.median(ours), statistics.median(peer)
    ratio = middle / peers_middle
    bars = tuple(held(bar, samples or {}) for bar in entry.bars)
    result = Result(
        name=entry.name,
        ours=round(middle, 3),
        peer=round(peers_middle, 3),
        peer_name=entry.peer_name,
        unit=entry.unit,
        ratio=round(ratio, 3),
        target=str(entry.target),
        holds=entry.target.holds(ratio) and all(bar.holds is not False for bar in bars),
        bars=bars,
    )
    return Measured(result, tuple(ours), tuple(peer))


def held(bar: Bar, samples: Samples) -> Held:
    """The bar's value, and whether it is what it must be."""
    value = _ratio(bar, samples) if bar.of == "ratio" else _of_side(bar.of, bar, samples)
    return Held(
        name=str(bar),
        value=None if value is None else round(value, 3),
        unit="" if bar.of == "ratio" else bar.unit,
        target=str(bar.target or ""),
        holds=None if bar.target is None else value is not None and bar.target.holds(value),
    )


def quantile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank quantile: the least value that at least `share` of all do not exceed; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _of_side(side: Side, bar: Bar, samples: Samples) -> float | None:
    return quantile(samples.get(side, {}).get(bar.samples, ()), bar.quantile)


def _ratio(bar: Bar, samples: Samples) -> float | None:
    ours, peers = (_of_side(side, bar, samples) for side in SIDES)
    return ours / peers if ours is not None and peers else None


def named(entries: Iterable[Entry], only: str) -> tuple[Entry, ...]:
    """All entries, or the one called `only`. Raises `KeyError` with the names there are."""
    entries = tuple(entries)
    if not only:
        return entries
    found = tuple(entry for entry in entries if entry.name == only)
    if not found:
        raise KeyError(f"no entry {only!r}; there are: {', '.join(entry.name for entry in entries)}")
    return found
