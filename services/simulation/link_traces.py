"""What a link carries over time: traces in the format of Mahimahi and as CSV, and synthetic ones. Pure.

Promises that a message is as late as the bytes before it make it, and that a trace is begun again at its end. Next:
capacity.py, which sends over it."""

from __future__ import annotations

import bisect
import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from tidegate.schemas import TidegateError

MTU_BYTES = 1500
"""What one opportunity of Mahimahi's traces carries."""
COLUMNS = ("time_ms", "kbit_s", "rtt_ms")
STEP_MS = 100.0
"""How long a synthetic link stays as it is."""

SyntheticLink = Literal["lte", "5g", "wifi"]
SYNTHETIC: tuple[SyntheticLink, ...] = get_args(SyntheticLink)


class LinkTraceError(TidegateError, ValueError):
    """A trace of a link cannot be read."""

    hint = "give one number of milliseconds a line, as Mahimahi does, or CSV with the columns time_ms,kbit_s,rtt_ms"


class LinkRate(NamedTuple):
    """From `from_ms` on the link carries `kbit_s`, and a round trip takes `rtt_ms` beside that."""

    from_ms: float
    kbit_s: float
    rtt_ms: float


@dataclass(frozen=True)
class LinkTrace:
    """What a link carries in one direction: states, until `ends_ms`, when it begins again; or opportunities, the
    milliseconds at each of which `MTU_BYTES` cross, in order. `label` says what it is."""

    label: str
    ends_ms: float
    states: tuple[LinkRate, ...] = ()
    opportunities: tuple[float, ...] = ()
    rtt_ms: float = 0.0
    """Of a trace of opportunities, which says nothing of it."""

    def rtt_at(self, now_ms: float) -> float:
        """What a round trip takes beside the time of its bytes."""
        return self._state_at(now_ms % self.ends_ms).rtt_ms if self.states else self.rtt_ms

    def crossed_ms(self, now_ms: float, size: float) -> float:
        """When the last of `size` bytes is on the other side of the bottleneck, that begin to cross at `now_ms`."""
        return self._by_opportunity(now_ms, size) if self.opportunities else self._by_rate(now_ms, size)

    def _by_opportunity(self, now_ms: float, size: float) -> float:
        needed = max(1, -int(-size // MTU_BYTES))
        rounds, at_ms = divmod(now_ms, self.ends_ms)
        first = bisect.bisect_left(self.opportunities, at_ms)
        more, last = divmod(first + needed - 1, len(self.opportunities))
        return (rounds + more) * self.ends_ms + self.opportunities[last]

    def _by_rate(self, now_ms: float, size: float) -> float:
        bits, at_ms = size * 8, now_ms
        while True:
            rounds, inside_ms = divmod(at_ms, self.ends_ms)
            index = self._index_at(inside_ms)
            until_ms = self.states[index + 1].from_ms if index + 1 < len(self.states) else self.ends_ms
            end_ms, rate = rounds * self.ends_ms + until_ms, self.states[index].kbit_s
            if rate * (end_ms - at_ms) >= bits:
                return at_ms + (bits / rate if bits else 0.0)
            bits -= rate * (end_ms - at_ms)
            at_ms = max(end_ms, at_ms + 1e-6)

    def _state_at(self, inside_ms: float) -> LinkRate:
        return self.states[self._index_at(inside_ms)]

    def _index_at(self, inside_ms: float) -> int:
        return max(0, bisect.bisect_right(self.states, inside_ms, key=lambda state: state.from_ms) - 1)


def read_trace(text: str, name: str, rtt_ms: float) -> LinkTrace:
    """The trace in a file: with commas it is CSV, else Mahimahi's. `rtt_ms` is that of one that says nothing of it.

    Raises `LinkTraceError`, with the line.
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise LinkTraceError(f"{name} is empty")
    return read_csv(lines, name) if "," in lines[0] else read_mahimahi(lines, name, rtt_ms)


def read_mahimahi(lines: Sequence[str], name: str, rtt_ms: float) -> LinkTrace:
    """Milliseconds at each of which one packet of 1500 bytes may cross; the last is when the trace begins again
    (Winstein et al., NSDI 2013; the manual of mm-link)."""
    times: list[float] = []
    for number, line in enumerate(lines, 1):
        if not line.strip().isdecimal() or (times and int(line) < times[-1]):
            raise LinkTraceError(f"{name}, line {number}: {line.strip()!r} is no later millisecond")
        times.append(int(line))
    if not times[-1]:
        raise LinkTraceError(f"{name} ends at 0 ms")
    return LinkTrace(name, float(times[-1]), opportunities=tuple(times), rtt_ms=rtt_ms)


def read_csv(lines: Sequence[str], name: str) -> LinkTrace:
    """Rows of `time_ms,kbit_s,rtt_ms`; the last one holds as long as the one before."""
    rows = list(csv.reader(lines))
    if rows[0][0].strip() == COLUMNS[0]:
        rows = rows[1:]
    states: list[LinkRate] = []
    for number, row in enumerate(rows, 1):
        try:
            state = LinkRate(*map(float, row))
        except (TypeError, ValueError) as error:
            raise LinkTraceError(f"{name}, row {number}: {','.join(row)!r} is not {','.join(COLUMNS)}") from error
        if not (state.kbit_s >= 0 and state.rtt_ms >= 0 and (not states or state.from_ms > states[-1].from_ms)):
            raise LinkTraceError(f"{name}, row {number}: times rise, and nothing is below 0")
        states.append(state)
    if not any(state.kbit_s for state in states):
        raise LinkTraceError(f"{name} never carries anything")
    last_ms = states[-1].from_ms - states[-2].from_ms if len(states) > 1 else 1000.0
    return LinkTrace(name, states[-1].from_ms + last_ms, tuple(states))


class _Published(NamedTuple):
    """What a kind of link is like on the average, and how it varies: its rates in kbit/s, its round trip in ms, the
    deviation of the logarithm of a rate, and the share of the time in which it carries nothing."""

    up: float
    down: float
    rtt_ms: float
    sigma: float
    away: float


RANGES: dict[SyntheticLink, _Published] = {
    "lte": _Published(20_200, 56_200, 50.0, 0.8, 0.02),
    "5g": _Published(31_270, 241_600, 35.0, 0.9, 0.02),
    "wifi": _Published(30_000, 60_000, 12.0, 0.5, 0.005),
}
"""Averages up and down of LTE and 5G: the Cellsmart survey of SmartCIC, 2022 (331 places in 51 countries). Their round
trips, how they vary, and all of Wi-Fi are assumptions, see docs/simulation.md."""


def synthetic_trace(kind: SyntheticLink, direction: Literal["up", "down"], seed: int, seconds: int = 60) -> LinkTrace:
    """A trace that nobody has measured, of such a link: its rate wanders by steps of `STEP_MS`, each close to the one
    before, and drops to nothing for a moment now and then. The same seed gives the same."""
    like, rng = RANGES[kind], random.Random(f"{kind}/{direction}/{seed}")
    mean, deviation, away = (like.up if direction == "up" else like.down), 0.0, 0
    states = []
    for step in range(int(seconds * 1000 / STEP_MS)):
        deviation = 0.9 * deviation + (1 - 0.9**2) ** 0.5 * rng.gauss(0.0, like.sigma)
        away = away - 1 if away else 5 * (rng.random() < like.away / 5)
        rate = 0.0 if away else mean * 2.718281828 ** (deviation - like.sigma**2 / 2)
        states.append(LinkRate(step * STEP_MS, round(rate, 1), round(like.rtt_ms * rng.uniform(0.8, 1.5), 1)))
    return LinkTrace(f"synthetic {kind}", seconds * 1000.0, tuple(states))


def steady_link(rtt_ms: float) -> LinkTrace:
    """A link that is never the bottleneck."""
    return LinkTrace(f"{rtt_ms:g} ms, bytes cost nothing", 1000.0, (LinkRate(0.0, 1e9, rtt_ms),))
