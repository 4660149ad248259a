"""What a long run showed: what grew, what slowed down, what was lost. Pure. Next: soak.py, which asks."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from loadtests.size.processes import ProcessUsage
from tidegate.services.evaluation.load_report import LoadReport
from tidegate.services.evaluation.open_loop import LoadSample

MOST_GROWTH = 1.02
MOST_SLOWDOWN = 1.1
READINGS = 20
"""How often processes are looked at in a run, evenly; ends are medians of `AT_AN_END` readings, as memory swings."""
AT_AN_END = 3

Readings = Sequence[Mapping[str, ProcessUsage]]


class ProcessDrift(msgspec.Struct, frozen=True, kw_only=True):
    """A process when it was warm, and at the end. `growth` is the ratio of its own pages (PSS); CPU is milliseconds for
    each request of the run, in the first readings and in the last."""

    rss_mib: tuple[float, float]
    pss_mib: tuple[float, float]
    growth: float
    handles: tuple[int, int]
    cpu_ms: tuple[float, float]
    pss_series: tuple[float, ...]


class SoakReport(msgspec.Struct, frozen=True, kw_only=True):
    """`slowdown` is the p50 of the last tenth of the answers, of that of the first; `lost` were neither answered nor
    refused, or have no stored answer, `doubled` have several; `restarted` are processes that ended meanwhile."""

    load: LoadReport
    p50_ms: tuple[float, float]
    slowdown: float
    processes: dict[str, ProcessDrift]
    lost: int
    doubled: int
    restarted: tuple[str, ...] = ()

    def find_broken(self) -> list[str]:
        """The bars that do not hold, in words."""
        broken = [
            f"{name} grew {each.growth:.3f} times" for name, each in self.processes.items() if each.growth > MOST_GROWTH
        ]
        if self.slowdown > MOST_SLOWDOWN:
            broken.append(f"the last tenth took {self.slowdown:.2f} times as long as the first")
        counts = {"lost": self.lost, "doubled": self.doubled, "without an end": self.load.unfinished}
        broken += [f"{count} {name}" for name, count in counts.items() if count]
        broken += [f"{count} refused as {why}" for why, count in self.load.refused.items()]
        return broken + [f"{name} ended and was started again" for name in self.restarted]


def summarise_drift(readings: Readings, at_rest: Readings, requests: int) -> dict[str, ProcessDrift]:
    """How each process changed over readings that lie evenly in so many requests, and between the first and the last
    time at rest. Raises `ValueError` for too few."""
    if len(readings) < 2 * AT_AN_END:
        raise ValueError(f"{len(readings)} readings have no beginning and end of {AT_AN_END}")
    of_an_end = requests / (len(readings) - 1) * (AT_AN_END - 1)
    return {
        name: _drift([reading[name] for reading in readings], (at_rest[0][name], at_rest[-1][name]), of_an_end)
        for name in readings[0]
    }


def _drift(seen: Sequence[ProcessUsage], at_rest: tuple[ProcessUsage, ProcessUsage], requests: float) -> ProcessDrift:
    first, last = seen[:AT_AN_END], seen[-AT_AN_END:]

    def ends(value: Callable[[ProcessUsage], float]) -> tuple[float, float]:
        return statistics.median(map(value, first)), statistics.median(map(value, last))

    pss = ends(lambda each: each.pss_mib)
    rss = ends(lambda each: each.rss_mib)
    worked = tuple((part[-1].cpu_s - part[0].cpu_s) * 1000 / requests for part in (first, last))
    return ProcessDrift(
        rss_mib=(round(rss[0], 1), round(rss[1], 1)),
        pss_mib=(round(pss[0], 1), round(pss[1], 1)),
        growth=round(pss[1] / pss[0], 4),
        handles=(at_rest[0].handles, at_rest[1].handles),
        cpu_ms=(round(worked[0], 2), round(worked[1], 2)),
        pss_series=tuple(round(each.pss_mib, 1) for each in seen),
    )


def compare_tenths(samples: Sequence[LoadSample]) -> tuple[float, float]:
    """p50 of the answers of the first and of the last tenth, in milliseconds. Raises `ValueError` for none."""
    answered = [sample.final_s * 1000 for sample in samples if sample.became not in ("refused", "failed")]
    tenth = max(1, len(answered) // 10)
    if not answered:
        raise ValueError("nothing was answered")
    return round(statistics.median(answered[:tenth]), 2), round(statistics.median(answered[-tenth:]), 2)


def count_faults(asked: Sequence[str], refused: int, stored: Counter[str]) -> tuple[int, int]:
    """How many of these request ids were lost, and how many answered several times. A refused one has no answer."""
    without = sum(stored[rid] == 0 for rid in asked)
    return max(0, without - refused), sum(stored[rid] > 1 for rid in asked)
