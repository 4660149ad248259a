"""Measures two sides in one run, block by block, and says whether their ratio holds."""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Literal

import msgspec

Side = Literal["ours", "peer"]
SIDES: tuple[Side, Side] = ("ours", "peer")
MIN_REPEATS = 5

Block = Callable[[], Awaitable[float]]
Told = Callable[[], None]


class Measurement(msgspec.Struct, frozen=True):
    """One block of one side, in the entry's unit."""

    side: Side
    value: float


class Target(msgspec.Struct, frozen=True):
    """What the ratio ours / peer must be for the entry to hold."""

    relation: Literal["≤", "≥"]
    bound: float

    def holds(self, ratio: float) -> bool:
        return ratio <= self.bound if self.relation == "≤" else ratio >= self.bound

    def __str__(self) -> str:
        return f"{self.relation} {self.bound:.1f}"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the bench. `blocks(repeats)` yields `repeats` measurements of each side, alternating."""

    name: str
    unit: str
    peer_name: str
    target: Target
    blocks: Callable[[int], AsyncIterator[Measurement]]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One object of bench.json: medians over the blocks, and `ratio` of ours to the peer's."""

    name: str
    ours: float
    peer: float
    peer_name: str
    unit: str
    ratio: float
    target: str
    holds: bool


class Measured(msgspec.Struct, frozen=True):
    """A result with the blocks that it rests on."""

    result: Result
    ours: tuple[float, ...]
    peer: tuple[float, ...]


async def interleaved(repeats: int, ours: Block, peer: Block) -> AsyncIterator[Measurement]:
    """Run the sides in turn, each first every other time, so that a drift of the machine meets both alike.

    One block of each side is run before and thrown away.
    """
    sides: dict[Side, Block] = {"ours": ours, "peer": peer}
    for side in SIDES:
        await sides[side]()
    for number in range(repeats):
        for side in SIDES if number % 2 == 0 else reversed(SIDES):
            yield Measurement(side, await sides[side]())


async def measure(entry: Entry, repeats: int, told: Told) -> Measured:
    """Measure one entry; `told` hears of every block. Raises `ValueError` when a side has fewer than five blocks."""
    values: dict[Side, list[float]] = {"ours": [], "peer": []}
    async with aclosing(entry.blocks(repeats)) as blocks:  # type: ignore[type-var]
        async for block in blocks:
            values[block.side].append(block.value)
            told()
    return judged(entry, values["ours"], values["peer"])


def judged(entry: Entry, ours: Sequence[float], peer: Sequence[float]) -> Measured:
    """Medians, their ratio, the verdict. Raises `ValueError` when a side has fewer than five blocks."""
    if min(len(ours), len(peer)) < MIN_REPEATS:
        raise ValueError(f"{entry.name}: a median needs {MIN_REPEATS} blocks a side, not {len(ours)} and {len(peer)}")
    middle, peers_middle = statistics.median(ours), statistics.median(peer)
    ratio = middle / peers_middle
    result = Result(
        name=entry.name,
        ours=round(middle, 3),
        peer=round(peers_middle, 3),
        peer_name=entry.peer_name,
        unit=entry.unit,
        ratio=round(ratio, 3),
        target=str(entry.target),
        holds=entry.target.holds(ratio),
    )
    return Measured(result, tuple(ours), tuple(peer))


def named(entries: Iterable[Entry], only: str) -> tuple[Entry, ...]:
    """All entries, or the one called `only`. Raises `KeyError` with the names there are."""
    entries = tuple(entries)
    if not only:
        return entries
    found = tuple(entry for entry in entries if entry.name == only)
    if not found:
        raise KeyError(f"no entry {only!r}; there are: {', '.join(entry.name for entry in entries)}")
    return found
