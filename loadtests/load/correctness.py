"""How many of a pack's questions are answered rightly by the hub's reader alone, and with its language model."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from loadtests.bench.race_sites import linked_sites
from loadtests.prepared import prepare_all
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.schemas.pack import LabelledQuestion, Pack
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.demo import BUDGET_MS
from tidegate.services.cli.options import find_default_pack
from tidegate.services.cli.progress import LineProgress
from tidegate.services.evaluation.client import SiteClient, ask_all, read_facts
from tidegate.services.evaluation.report import RunReport, summarise_runs
from tidegate.services.fleet.access import temporary_key
from tidegate.services.packs.load import load_pack
from tidegate.services.settings import Settings

SITE = "site1"
BACKENDS = ("extractive", "embedded")
"""The hub's reader alone, and the shipped language model behind it; both read the same documents."""


async def counted(backend: str, settings: Settings, questions: Sequence[LabelledQuestion]) -> RunReport:
    """What became of the questions at a fresh fleet whose hub has this backend.

    `dead` and `personal_values_found` are not looked at here: `tidegate demo` is where those are counted.
    """
    environment = {HUB: {"TIDEGATE_CLOUD_VERIFIER__BACKEND": backend}, SITE: {}}
    async with AsyncExitStack() as stack:
        race = await stack.enter_async_context(linked_sites(settings, environment))
        nats = race.servers.sites[SITE].nats
        access_key = stack.enter_context(temporary_key(settings, "correctness"))
        bus = await stack.enter_async_context(JetStreamBus.open(nats, SITE))
        runs = await ask_all(
            questions,
            {SITE: SiteClient(bus, race.http[SITE], access_key)},
            tenant=settings.tenants[0],
            budget_ms=BUDGET_MS,
            on_answer=lambda _: None,
        )
        for run in runs:
            await read_facts(run, bus, settings.tenants[0])
    return summarise_runs(runs, dead=0, personal_values_found=0)


async def compared(pack: Pack, models: Path, limit: int | None) -> dict[str, RunReport]:
    """Both tallies, of the same questions in the same order."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="correctness-") as home:
        prepared = Settings(state_dir=f"{home}/prepared", models_dir=str(models), pack_dir=pack.path)
        await prepare_all(prepared, [SITE], pack, LineProgress())
        for backend in BACKENDS:
            state = await asyncio.to_thread(shutil.copytree, prepared.state_dir, f"{home}/{backend}")
            settings = msgspec.structs.replace(prepared, state_dir=str(state))
            found[backend] = await counted(backend, settings, pack.questions[:limit])
    return found


def side_by_side(found: dict[str, RunReport]) -> str:
    """Correct answers by kind of question, then all, then the times."""
    lines = [f"{'kind':<22}{'asked':>6}" + "".join(f"{backend:>14}" for backend in found)]
    first = next(iter(found.values()))
    for kind, row in first.by_kind.items():
        shares = [tallied.by_kind[kind]["correct"] / row["asked"] for tallied in found.values()]
        lines.append(f"{kind:<22}{row['asked']:>6}" + "".join(f"{share:>14.1%}" for share in shares))
    for name in ("correct", "incorrect", "abstained", "escalated", "lost", "duplicates"):
        counts = "".join(f"{getattr(tallied, name):>14}" for tallied in found.values())
        lines.append(f"{name:<22}{first.asked:>6}{counts}")
    for name in ("ttft_ms", "e2e_ms"):
        spreads = [getattr(tallied, name) for tallied in found.values()]
        lines.append(f"{name + ', p50/p95':<28}" + "".join(f"{f'{each.p50:g}/{each.p95:g}':>14}" for each in spreads))
    return "\n".join(lines)


def main() -> int:
    """0 when nothing was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, default=find_default_pack())
    parser.add_argument("--models", type=Path, default=Path(".models"))
    parser.add_argument("--limit", type=int, default=None, help="ask the first questions only")
    parser.add_argument("--json", action="store_true", dest="as_json")
    given = parser.parse_args()
    found = asyncio.run(compared(load_pack(given.pack), given.models, given.limit))
    print(msgspec.json.encode(found).decode() if given.as_json else side_by_side(found))
    return 0 if all(tallied.is_clean for tallied in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
