"""How often a site's forecast is within a factor of two of what happened, learned against closed forms alone, and what
drafts cost and saved on the way: `python -m loadtests.bench.drafts_forecast [--model DIR] [--laps N]`.

A hub and a site at the end of a link are asked questions of the pack, lap after lap, as one client asks them. Each
receipt records the forecast, what it was made of and what happened, so both sides are judged by the same answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

import click
import httpx
import msgspec

from loadtests.bench.measure import Bar, Entry, Measurement, Target
from loadtests.bench.race import JITTER, PATIENCE_S, PINGS, SITES, prepared, settings_of
from loadtests.bench.race_client import Refusal, receive
from loadtests.bench.race_sites import linked_sites
from tidegate.schemas import Asked, Published, Speculation
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.options import find_default_pack
from tidegate.services.evaluation.client import bearer
from tidegate.services.fleet.access import temporary_key
from tidegate.services.packs.load import load_pack
from tidegate.services.planning.learned_times import ObservedTime, is_good

NAME = "drafts_forecast"
BOXED = Path(".models/smollm2-135m-instruct")
"""The real-size model; `make lm` builds it."""
SITE = SITES["ours"]
RTT_MS = 20.0
BUDGET_MS = 20_000
ASKED = 60
"""Questions of a lap: so many of the pack's, evenly spread over their kinds, and others in each lap while there are."""
ASKED_BOXED = 30


class JudgedForecast(msgspec.Struct, frozen=True):
    """When an answer was expected by what was learned, and by the closed form alone; when it was judged."""

    expected_ms: float
    closed_form_ms: float
    took_ms: float
    passed_ms: float
    """What had passed before the plan: it is in all three."""
    route: str

    @property
    def is_good(self) -> bool:
        """Whether the request was judged within a factor of two of when it was expected."""
        return is_good(self.expected_ms, self.took_ms)

    @property
    def is_good_behind_the_plan(self) -> bool:
        """The same of what was not known when the plan was made."""
        return is_good(self.expected_ms - self.passed_ms, self.took_ms - self.passed_ms)

    @property
    def was_good_unlearned(self) -> bool:
        """The same with closed forms alone."""
        return is_good(self.closed_form_ms, self.took_ms)


class ForecastLap(msgspec.Struct, frozen=True):
    """The forecasts of one lap, and what its answers cost the hub's model."""

    judged: tuple[JudgedForecast, ...]
    spent: tuple[Speculation, ...]
    unanswered: int = 0
    """Requests of which no answer came in time, so that nothing is known of them: a machine that is too busy."""

    def share(self, is_counted: Callable[[JudgedForecast], bool], route: str = "") -> tuple[float, ...]:
        """Per cent of the forecasts, of one route where it is named; nothing where there are none."""
        counted = [is_counted(each) for each in self.judged if route in ("", each.route)]
        return (100 * sum(counted) / len(counted),) if counted else ()

    def figures(self) -> dict[str, tuple[float, ...]]:
        """What the bars look at."""
        totals = Counter[str]()
        for spent in self.spent:
            for name in ("drafted", "accepted", "wasted", "saved", "steps", "draft_bytes"):
                totals[name] += getattr(spent, name)
        known = {name: (float(totals[name]),) for name in ("drafted", "accepted", "wasted", "steps", "draft_bytes")}
        per_token = {"bytes_per_accepted": (totals["draft_bytes"] / totals["accepted"],)} if totals["accepted"] else {}
        return {
            "within_twice": self.share(lambda each: each.is_good),
            "within_twice, edge": self.share(lambda each: each.is_good, "edge"),
            "within_twice, cloud": self.share(lambda each: each.is_good, "cloud"),
            "within_twice, behind the plan": self.share(lambda each: each.is_good_behind_the_plan),
            **known,
            **per_token,
            "steps_saved": (float(totals["saved"]),),
            "unanswered": (float(self.unanswered),),
        }


def judge(published: Published) -> JudgedForecast | None:
    """The forecast of one answer; None where no plan led to it, so that nothing was forecast."""
    plan, outcome = published.receipt.plan, published.receipt.forecast
    if plan is None or plan.basis is None or outcome is None:
        return None
    basis, is_edge = plan.basis, outcome.mode == "edge_only"
    link_ms = 0.0 if is_edge else basis.rtt_ms
    factor = basis.edge_factor if is_edge else basis.cloud_factor
    seen = ObservedTime(outcome.expected_ms, outcome.took_ms, basis.spent_ms, link_ms, factor)
    closed_form_ms = basis.spent_ms + link_ms + seen.closed_form_ms
    route = "edge" if is_edge else "cloud"
    return JudgedForecast(outcome.expected_ms, closed_form_ms, outcome.took_ms, basis.spent_ms, route)


async def laps(count: int, model: Path | None = None) -> AsyncIterator[ForecastLap]:
    """One lap after the other at a site that begins without experience."""
    pack = load_pack(find_default_pack())
    texts = [each.text for each in pack.questions if each.workload == "assist"]
    step = max(1, len(texts) // (ASKED_BOXED if model else ASKED))
    home = await prepared(pack)
    async with contextlib.AsyncExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forecast-", dir=home)))
        await asyncio.to_thread(shutil.copytree, home / "prepared", state, dirs_exist_ok=True)
        hub = {"TIDEGATE_CLOUD_VERIFIER__MODEL": str(model)} if model else {}
        race = await stack.enter_async_context(linked_sites(settings_of(state), {SITE: PINGS, HUB: hub}))
        for link in race.links.values():
            link.set(rtt_ms=RTT_MS, jitter_ms=RTT_MS * JITTER)
        headers = bearer(stack.enter_context(temporary_key(settings_of(state), "forecast")))
        client = httpx.AsyncClient(base_url=race.http[SITE], timeout=PATIENCE_S, headers=headers)
        await stack.enter_async_context(client)
        for number in range(count):
            yield await lap(client, texts[number % step :: step])


async def lap(client: httpx.AsyncClient, texts: Sequence[str]) -> ForecastLap:
    """Every question once; every other by a client that can take back what it has shown."""
    answers = []
    for number, text in enumerate(texts):
        asked = Asked(
            tenant="kiosk",
            text=text,
            rid=uuid.uuid4().hex,
            budget_ms=BUDGET_MS,
            can_retract=number % 2 == 0,
            asker="forecaster",
        )
        with contextlib.suppress(httpx.TimeoutException, Refusal):
            received = await receive(client, asked)
            assert received.published is not None
            answers.append(received.published)
    spent = [each.receipt.speculation for each in answers]
    judged = [judge(each) for each in answers]
    return ForecastLap(
        tuple(each for each in judged if each is not None),
        tuple(each for each in spent if each is not None),
        len(texts) - len(answers),
    )


async def blocks(repeats: int, *, model: Path | None = None) -> AsyncIterator[Measurement]:
    """Per cent within a factor of two, with what was learned and without: of the same answers, the first lap too."""
    async with contextlib.aclosing(laps(repeats, model)) as walked:  # type: ignore[type-var]
        async for each in walked:
            yield Measurement("ours", each.share(lambda one: one.is_good)[0], each.figures())
            yield Measurement("peer", max(1.0, each.share(lambda one: one.was_good_unlearned)[0]))


def entry(name: str, model: Path | None) -> Entry:
    """The line of the bench with the shipped target, or with another model."""
    counts = ("drafted", "accepted", "wasted", "steps", "steps_saved", "draft_bytes", "bytes_per_accepted")
    shares = ("within_twice, edge", "within_twice, cloud", "within_twice, behind the plan")
    return Entry(
        name=name,
        unit="% of requests forecast within a factor of two",
        peer_name="the closed forms alone, on the same requests",
        target=Target("≥", 1.0),
        blocks=partial(blocks, model=model),
        bars=(
            Bar(samples="within_twice", quantile=0.5, target=Target("≥", 90), unit="%"),
            Bar(samples="within_twice", quantile=0.0, unit="%"),
            *(Bar(samples=share, quantile=0.5, unit="%") for share in shares),
            *(Bar(samples=count, quantile=0.5, unit="a lap") for count in counts),
            Bar(samples="unanswered", quantile=1.0, target=Target("≤", 0), unit="a lap"),
        ),
    )


FORECAST_ENTRIES: tuple[Entry, ...] = (
    entry(NAME, None),
    *((entry(f"{NAME}_smollm2", BOXED),) if (BOXED / "model.onnx").is_file() else ()),
)
"""With the shipped pair, and with the boxed model where it was built."""


@click.command()
@click.option("--model", type=click.Path(exists=True, file_okay=False, path_type=Path), help="The hub's model.")
@click.option("--laps", "count", default=4, show_default=True, type=click.IntRange(min=1))
def main(model: Path | None, count: int) -> None:
    """Print the figures of each lap; exit code 1 where fewer than 90 % of all forecasts behind the first were good."""

    async def run() -> list[ForecastLap]:
        return [each async for each in laps(count, model)]

    walked = asyncio.run(run())
    for number, each in enumerate(walked, 1):
        unlearned = each.share(lambda one: one.was_good_unlearned)[0]
        click.echo(f"lap {number}: {len(each.judged)} forecasts; closed forms alone {unlearned:.1f} %")
        for name, values in each.figures().items():
            click.echo(f"  {name:<32}{values[0] if values else float('nan'):>10.1f}")
    learned = [one.is_good for each in walked[1:] or walked for one in each.judged]
    share = 100 * sum(learned) / max(1, len(learned))
    click.echo(f"within a factor of two behind the first lap: {share:.1f} % of {len(learned)}")
    sys.exit(0 if share >= 90 else 1)


if __name__ == "__main__":
    main()
