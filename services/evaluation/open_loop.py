"""An open loop of requests: each is sent when it is due, whatever became of those before it.

Gaps are exponential, as those of many askers who know nothing of each other, and every time counts from when a request
was due, not from when it was sent: a client that is late must not hide that a site is (Tene, "How NOT to Measure
Latency"; Schroeder et al., "Open Versus Closed: A Cautionary Tale", NSDI 2006). Next: load_report.py, load_clients.py.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator

import msgspec

from tidegate.schemas import Published, Refused, TidegateError

SHORTEST_WAIT_S = 0.0005
"""What is due within this time is sent now: the loop sleeps no shorter."""


class LoadReply(msgspec.Struct, frozen=True):
    """What came back, and the seconds from sending to the first piece of text; None where nothing was streamed."""

    reply: Published | Refused
    first_s: float | None = None


class LoadSample(msgspec.Struct, frozen=True, kw_only=True):
    """One request, in seconds since it was due. `became` is the outcome of an answer, `refused` or `failed`; `why` the
    code of a refusal, or the kind of a failure."""

    late_s: float
    """How long after that it was sent: the client's own fault."""
    final_s: float
    first_s: float | None = None
    became: str
    why: str = ""


Ask = Callable[[int], Awaitable[LoadReply]]
"""Sends the request of this number, from 0 on. Raises `FAULTS` where there is no reply."""
FAULTS = (OSError, TimeoutError, TidegateError)
"""What a client of a loaded site must expect."""


def exponential_gap_s(rate: float, chance: random.Random) -> float:
    """Seconds to the next request of a Poisson process with `rate` a second."""
    return chance.expovariate(rate)


def arrivals(rate: float, duration_s: float, chance: random.Random) -> Iterator[float]:
    """When requests are due, in seconds from the start, until `duration_s`."""
    due_s = exponential_gap_s(rate, chance)
    while due_s < duration_s:
        yield due_s
        due_s += exponential_gap_s(rate, chance)


async def run_open_loop(
    ask: Ask, due: Iterator[float], on_sample: Callable[[LoadSample], None], patience_s: float
) -> int:
    """Send each request when it is due; return how many of them had no end `patience_s` after the last was sent.

    `on_sample` is called for each that ended, in the order of their ends.
    """
    began_s = time.perf_counter()
    under_way: set[asyncio.Task[None]] = set()

    async def one(number: int, due_s: float) -> None:
        on_sample(await timed(ask, number, began_s + due_s))

    for number, due_s in enumerate(due):
        wait_s = began_s + due_s - time.perf_counter()
        await asyncio.sleep(wait_s if wait_s > SHORTEST_WAIT_S else 0)
        task = asyncio.create_task(one(number, due_s))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    if not under_way:
        return 0
    ended, left = await asyncio.wait(under_way, timeout=patience_s)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for task in ended:
        task.result()
    return len(left)


async def timed(ask: Ask, number: int, due_s: float) -> LoadSample:
    """One request that was due then, by `time.perf_counter`. Raises what `ask` does beside `FAULTS`."""
    late_s = time.perf_counter() - due_s
    try:
        found = await ask(number)
    except FAULTS as error:
        final_s = time.perf_counter() - due_s
        return LoadSample(late_s=late_s, final_s=final_s, became="failed", why=type(error.__cause__ or error).__name__)
    final_s = time.perf_counter() - due_s
    first_s = None if found.first_s is None else late_s + found.first_s
    reply = found.reply
    became, why = ("refused", reply.code) if isinstance(reply, Refused) else (reply.outcome, reply.reason)
    return LoadSample(late_s=late_s, final_s=final_s, first_s=first_s, became=became, why=why)
