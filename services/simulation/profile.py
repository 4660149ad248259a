"""What requests of a site are like: which stages worked on each, and for how long, as receipts of a live run say. Pure.

Next: capacity.py, which lets such requests come at other rates."""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from tidegate.schemas import Outcome, Published, TidegateError, Where

LEAST = 20
"""From fewer receipts nothing is fitted."""
MOST_SAMPLES = 5000
LINK_STAGE, HUB_STAGE = "fast-lane", "cloud-verifier"
UP_BYTES, DOWN_BYTES = 2000.0, 3000.0
"""What an escalation and a verdict weigh where nobody has measured it."""


class ProfileError(TidegateError, ValueError):
    """A profile cannot be made, or read."""

    hint = f"`tidegate sim --fit` makes one of at least {LEAST} answers; each line of its file is one, as JSON"


class RequestStep(msgspec.Struct, frozen=True, array_like=True):
    """A stage, and how long it worked on a request, in milliseconds."""

    stage: str
    worked_ms: float


class RequestSample(msgspec.Struct, frozen=True):
    """One request of the live run."""

    outcome: Outcome
    route: Where
    steps: tuple[RequestStep, ...]


class Latency(msgspec.Struct, frozen=True):
    """Quantiles in milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Latency:
        """Of at least one value, by the nearest rank."""
        ordered = sorted(values)
        ranks = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.50, 0.95, 0.99))
        return cls(*(round(each, 1) for each in ranks))


class LiveRun(msgspec.Struct, frozen=True):
    """When the requests of the live run came, in milliseconds since the first, and how long the answers took that the
    samples are not of."""

    arrivals_ms: tuple[float, ...]
    latency: Latency


class CapacityProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a capacity question is answered from. `hops_ms` is what a message takes to a stage that is idle, `rtt_ms`
    the round trip to the hub as the fast lane saw it, bytes included; `are_bytes_measured`: the weights are."""

    samples: tuple[RequestSample, ...]
    hops_ms: Mapping[str, float]
    rtt_ms: float
    up_bytes: float = UP_BYTES
    down_bytes: float = DOWN_BYTES
    are_bytes_measured: bool = False
    cores: int
    live: LiveRun | None = None


def fit_profile(
    answers: Sequence[Published], cores: int, weights: tuple[float, float] | None = None
) -> CapacityProfile:
    """The profile of a live run on a machine with so many cores; `weights` are the mean bytes of what went up and down.

    Every second answer is a sample, the others are what the model is held against. Raises `ProfileError`.
    """
    known = sorted((each for each in answers if each.timings), key=lambda each: each.asked_at_ms)[:MOST_SAMPLES]
    if len(known) < LEAST:
        raise ProfileError(f"there are {len(known)} answers with timings")
    waits: dict[str, list[float]] = defaultdict(list)
    links: list[float] = []
    for each in known:
        for line in each.timings:
            waits[line.stage].append(line.waited_ms)
            if line.stage == LINK_STAGE and any(other.stage == HUB_STAGE for other in each.timings):
                links.append(line.worked_ms)
    up, down = weights or (UP_BYTES, DOWN_BYTES)
    return CapacityProfile(
        samples=tuple(sample_of(each) for each in known[::2]),
        # Most of a wait is for a free worker: what a message takes without that is its lower quarter.
        hops_ms={stage: round(sorted(found)[len(found) // 4], 3) for stage, found in waits.items()},
        rtt_ms=round(statistics.median(links), 3) if links else 0.0,
        up_bytes=up,
        down_bytes=down,
        are_bytes_measured=weights is not None,
        cores=cores,
        live=LiveRun(
            tuple(float(each.asked_at_ms - known[0].asked_at_ms) for each in known),
            Latency.of([took_ms(each) for each in known[1::2]]),
        ),
    )


def sample_of(answer: Published) -> RequestSample:
    steps = tuple(RequestStep(line.stage, line.worked_ms) for line in answer.timings)
    return RequestSample(answer.outcome, answer.receipt.route, steps)


def took_ms(answer: Published) -> float:
    """From when it was asked for until the publisher had it: what its timings say."""
    return sum(line.waited_ms + line.worked_ms for line in answer.timings)


def read_answers(lines: Sequence[bytes]) -> list[Published]:
    """Answers, one a line, as JSON. Raises `ProfileError`, with the line."""
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(msgspec.json.decode(line, type=Published))
        except msgspec.DecodeError as error:
            raise ProfileError(f"line {number} is no answer: {error}") from error
    return found


def read_profile(data: bytes) -> CapacityProfile:
    """What `tidegate sim --fit` has written. Raises `ProfileError`."""
    try:
        profile = msgspec.json.decode(data, type=CapacityProfile)
    except msgspec.DecodeError as error:
        raise ProfileError(f"this is no profile: {error}") from error
    if not profile.samples:
        raise ProfileError("the profile has no samples")
    return profile


def poisson_arrivals(rate: float, count: int, rng: random.Random) -> list[float]:
    """When so many requests come, in milliseconds, at `rate` a second on the average, independent of each other."""
    now_ms, found = 0.0, []
    for _ in range(count):
        now_ms += rng.expovariate(rate) * 1000
        found.append(now_ms)
    return found


def read_arrivals(text: str) -> list[float]:
    """One time in milliseconds a line. Raises `ProfileError`."""
    try:
        found = sorted(float(line) for line in text.split())
    except ValueError as error:
        raise ProfileError(f"an arrival is no number of milliseconds: {error}") from error
    if not found:
        raise ProfileError("there are no arrivals")
    return found
