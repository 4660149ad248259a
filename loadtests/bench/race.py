"""The race: a site that shows its own draft at once against plain streaming from the cloud, over the same link.

Both are sites of one hub, each at the end of a link of its own with the same distance; the peer's router is configured
to let the cloud generate alone. Each question is asked of both, by a client at the site, in blocks that alternate. A
site that caches answers shows more when it is asked again: only its first block is a first asking, counted separately.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
import tempfile
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import click
import httpx
import msgspec

from loadtests.bench.measure import Bar, Entry, Measurement, Side, Target, interleaved
from loadtests.bench.race_client import Received, Refusal, receive
from loadtests.bench.race_sites import linked_sites
from loadtests.prepared import prepare_all
from tidegate.schemas import Asked, Mode
from tidegate.schemas.pack import LabelledQuestion, Pack, QuestionKind
from tidegate.services.cli.options import find_default_pack
from tidegate.services.cli.progress import LineProgress
from tidegate.services.evaluation.client import bearer
from tidegate.services.fleet.access import temporary_key
from tidegate.services.packs.load import load_pack
from tidegate.services.settings import Settings

RTTS_MS = (10, 50, 100, 200)
JITTER = 0.1
"""Share of the round trip that it may be longer."""
BUDGET_MS = 8000
SCRATCH = Path(".tidegate")
SITES: Mapping[Side, str] = {"ours": "race", "peer": "stream"}
PINGS = {"TIDEGATE_ROUTER__PING_EVERY_S": "0.2"}
STREAMING: Mode = "cloud_stream"
ENVIRONMENTS = {SITES["ours"]: PINGS, SITES["peer"]: {**PINGS, "TIDEGATE_ROUTER__MODE": STREAMING}}
KINDS: Mapping[QuestionKind, int] = {"answerable": 10, "paraphrased": 4, "language": 2, "personal": 2, "hub": 2}
"""How many questions of each kind: the pack's own proportions of the questions that have an answer."""
WARMING = 2
"""How many others of each kind both sides are asked before, so that what is measured first is not the start."""
PATIENCE_S = 30.0
FIRST, AGAIN = "asked first", "asked again"

Samples = dict[str, tuple[float, ...]]
ValueOf = Callable[[Samples], float]


class RaceRound(msgspec.Struct, frozen=True):
    """One block: all questions asked of one side, by their ids. `is_first`: that site was asked none of them before."""

    side: Side
    received: dict[str, Received]
    is_first: bool = False


class RaceSchedule:
    """All laps over one distance, run once and looked at by every entry that is about it."""

    def __init__(self, rtt_ms: int) -> None:
        self.rtt_ms = rtt_ms
        self._rounds: dict[int, list[RaceRound]] = {}
        self.kinds: dict[str, str] = {}

    async def rounds(self, repeats: int) -> AsyncIterator[RaceRound]:
        """`repeats` laps of each side, the sides alternating."""
        if repeats not in self._rounds:
            run = []
            async with contextlib.aclosing(self._run(repeats)) as rounds:  # type: ignore[type-var]
                async for race_round in rounds:
                    run.append(race_round)
                    yield race_round
            self._rounds[repeats] = run
            return
        for race_round in self._rounds[repeats]:
            yield race_round

    async def _run(self, repeats: int) -> AsyncIterator[RaceRound]:
        async with open_race_sites(self.rtt_ms) as (clients, pack):
            chosen = await scout(clients["peer"], questions_of(pack), self.rtt_ms)
            for question in others_of(pack):
                for side in SITES:
                    await ask(clients[side], question)
            rounds: list[RaceRound] = []

            async def race_round(side: Side) -> float:
                received = {question.id: await ask(clients[side], question) for question in chosen}
                is_first = side == "ours" and not rounds
                if is_first:
                    chosen[:] = both_answer(chosen, received, self.rtt_ms)
                    self.kinds = {question.id: question.kind for question in chosen}
                rounds.append(RaceRound(side, {question.id: received[question.id] for question in chosen}, is_first))
                return 0.0

            async for _ in interleaved(repeats, partial(race_round, "ours"), partial(race_round, "peer"), is_warm=True):
                yield rounds[-1]


@contextlib.asynccontextmanager
async def open_race_sites(rtt_ms: int) -> AsyncIterator[tuple[dict[Side, httpx.AsyncClient], Pack]]:
    """HTTP clients of both sites, which are up and `rtt_ms` from the hub, and the pack that they answer from."""
    pack = load_pack(find_default_pack())
    async with contextlib.AsyncExitStack() as stack:
        home = await prepared(pack)
        state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="race-", dir=home)))
        await asyncio.to_thread(shutil.copytree, home / "prepared", state, dirs_exist_ok=True)
        race = await stack.enter_async_context(linked_sites(settings_of(state), ENVIRONMENTS))
        for link in race.links.values():
            link.set(rtt_ms=rtt_ms, jitter_ms=rtt_ms * JITTER)
        clients: dict[Side, httpx.AsyncClient] = {}
        headers = bearer(stack.enter_context(temporary_key(settings_of(state), "race")))
        for side, site in SITES.items():
            client = httpx.AsyncClient(base_url=race.http[site], timeout=PATIENCE_S, headers=headers)
            clients[side] = await stack.enter_async_context(client)
        yield clients, pack


def settings_of(state: Path) -> Settings:
    """The product's own settings, on a state directory of the race's own."""
    return Settings(state_dir=str(state), pack_dir=str(find_default_pack()))


async def prepared(pack: Pack) -> Path:
    """A directory in which everything is ready; what has not changed since the last time is not made again."""
    home = SCRATCH / "race"
    await prepare_all(settings_of(home / "prepared"), tuple(SITES.values()), pack, LineProgress())
    return home


def questions_of(pack: Pack) -> list[LabelledQuestion]:
    """The first questions of each kind."""
    return [question for kind, count in KINDS.items() for question in of_kind(pack, kind)[:count]]


def others_of(pack: Pack) -> list[LabelledQuestion]:
    """The next questions of each kind, which are not measured."""
    return [question for kind, count in KINDS.items() for question in of_kind(pack, kind)[count : count + WARMING]]


def of_kind(pack: Pack, kind: QuestionKind) -> list[LabelledQuestion]:
    """All questions of the kind that want an answer."""
    return [each for each in pack.questions if each.kind == kind and each.workload == "assist"]


async def scout(
    client: httpx.AsyncClient, questions: Sequence[LabelledQuestion], rtt_ms: int
) -> list[LabelledQuestion]:
    """Those that the peer answers by streaming, which is what it is there for. Ours is not asked: it would remember."""
    streamed, modes = [], Counter[str]()
    for question in questions:
        received = await ask(client, question)
        modes[received.mode or "none"] += 1
        if received.is_answered and received.mode == STREAMING:
            streamed.append(question)
    click.echo(f"RTT {rtt_ms} ms: the peer streams {len(streamed)} of {len(questions)}; plans: {modes}", err=True)
    return streamed


def both_answer(
    asked: Sequence[LabelledQuestion], received: Mapping[str, Received], rtt_ms: int
) -> list[LabelledQuestion]:
    """Those that our side, which `received` is of, answers too: else there are no times to compare. Says how many.

    Raises `Refusal` where there is none.
    """
    both = [question for question in asked if received[question.id].is_answered]
    modes = Counter(each.mode or "none" for each in received.values())
    click.echo(f"RTT {rtt_ms} ms: both sides answer {len(both)} of {len(asked)}; our plans: {modes}", err=True)
    if not both:
        raise Refusal("there is no question that both sides answer")
    return both


async def ask(client: httpx.AsyncClient, question: LabelledQuestion) -> Received:
    """One question, by a client that can take back what it has shown."""
    asked = Asked(
        tenant="kiosk", text=question.text, rid=uuid.uuid4().hex, budget_ms=BUDGET_MS, can_retract=True, asker="racer"
    )
    return await receive(client, asked)


def timed(race_round: RaceRound, kinds: Mapping[str, str]) -> Samples:
    """The samples of a round. What is not answered this time counts as shown when the budget was over."""
    samples: dict[str, list[float]] = {}
    asked = FIRST if race_round.is_first else AGAIN
    for question, each in race_round.received.items():
        shown = each.shown_ms if each.shown_ms is not None and each.is_answered else BUDGET_MS
        committed = each.committed_ms if each.committed_ms is not None and each.is_answered else BUDGET_MS
        for name, value in (
            ("shown", shown),
            (f"shown, {kinds[question]}", shown),
            (f"shown, {asked}", shown),
            (f"shown, {kinds[question]}, {asked}", shown),
            (f"past answers shown, {asked}", float(each.guess == "cached_answer")),
            ("committed", committed),
            ("final", each.final_ms),
            ("retractions", float(each.retractions)),
            ("plain streaming", float(each.mode == STREAMING)),
        ):
            samples.setdefault(name, []).append(value)
    return {name: tuple(values) for name, values in samples.items()}


async def race_blocks(repeats: int, *, schedule: RaceSchedule, value_of: ValueOf) -> AsyncIterator[Measurement]:
    """What `value_of` makes of the samples of each round."""
    async with contextlib.aclosing(schedule.rounds(repeats)) as rounds:  # type: ignore[type-var]
        async for race_round in rounds:
            samples = timed(race_round, schedule.kinds)
            yield Measurement(race_round.side, value_of(samples), samples)


def median_shown_ms(samples: Samples) -> float:
    """The median of the time to the first text that is shown."""
    return statistics.median(samples["shown"])


def mean_final_ms(samples: Samples) -> float:
    """The mean of the time to the end of the answer: a late one counts, however rare."""
    return statistics.fmean(samples["final"])


AS_CONFIGURED = Bar(samples="plain streaming", quantile=0.0, of="peer", target=Target("≥", 1.0), unit="")
"""The peer did what it is the peer for, every time."""


NOTHING_REMEMBERED = Bar(samples=f"past answers shown, {FIRST}", quantile=1.0, target=Target("≤", 0.0), unit="")
"""What is called a first asking was one."""


def spread(samples: str, of: Side) -> tuple[Bar, Bar]:
    """Median and 95th percentile, reported and not judged."""
    return Bar(samples=samples, quantile=0.5, of=of), Bar(samples=samples, quantile=0.95, of=of)


def entries_of(schedule: RaceSchedule) -> tuple[Entry, Entry]:
    """What must hold over one distance."""
    rtt_ms = schedule.rtt_ms
    peer = f"plain streaming from the cloud (mode cloud_stream) over the same link, RTT {rtt_ms} ms"
    return (
        Entry(
            name=f"ttft_shown_rtt{rtt_ms}",
            unit="ms to the first shown text, p50",
            peer_name=peer,
            target=Target("≤", 0.3 if rtt_ms >= 50 else 1.0),
            blocks=partial(race_blocks, schedule=schedule, value_of=median_shown_ms),
            bars=(
                Bar(samples="shown", quantile=0.5, target=Target("≤", 90.0)),
                Bar(samples="shown", quantile=0.95, target=Target("≤", 150.0)),
                Bar(samples="retractions", quantile=1.0, target=Target("≤", 1.0), unit=""),
                AS_CONFIGURED,
                NOTHING_REMEMBERED,
                *(bar for asked in (FIRST, AGAIN) for bar in spread(f"shown, {asked}", "ours")),
                *(bar for asked in (FIRST, AGAIN) for bar in spread(f"shown, hub, {asked}", "ours")),
                *spread("committed", "ours"),
                *spread("shown", "peer"),
                *(Bar(samples=f"shown, {kind}", quantile=0.95) for kind in KINDS),
            ),
        ),
        Entry(
            name=f"final_vs_cloud_stream_rtt{rtt_ms}",
            unit="ms to the final token, mean",
            peer_name=peer,
            target=Target("≤", 1.05),
            blocks=partial(race_blocks, schedule=schedule, value_of=mean_final_ms),
            bars=(
                Bar(samples="final", quantile=0.95, of="ratio", target=Target("≤", 1.05)),
                AS_CONFIGURED,
                *spread("final", "ours"),
                *spread("final", "peer"),
            ),
        ),
    )


RACE_ENTRIES: tuple[Entry, ...] = tuple(entry for rtt_ms in RTTS_MS for entry in entries_of(RaceSchedule(rtt_ms)))
