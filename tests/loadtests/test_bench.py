"""The bench compares what it says it compares, and says so in one form."""

from __future__ import annotations

import asyncio
import json
import math
import re
import statistics
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from loadtests.bench import bare, chain, entries, faststream_chain, ours, vllm_entries
from loadtests.bench import run as bench
from loadtests.bench.measure import (
    Block,
    Entry,
    Measurement,
    MeasurementError,
    Side,
    Target,
    interleaved,
    judged,
    measure,
    named,
)
from loadtests.load.asker import Asker
from tests.support.paths import ROOT
from tidegate.services.pipeline import STAGES


def entry(name: str, target: Target, our_values: list[float], peer_values: list[float]) -> Entry:
    """An entry whose blocks are given."""

    async def blocks(repeats: int) -> AsyncIterator[Measurement]:
        ours_left, peers_left = iter(our_values[:repeats]), iter(peer_values[:repeats])

        async def our_block() -> float:
            return next(ours_left)

        async def peer_block() -> float:
            return next(peers_left)

        for _ in range(repeats):
            yield Measurement("ours", await our_block())
            yield Measurement("peer", await peer_block())

    return Entry(name=name, unit="ms", peer_name="the other", target=target, blocks=blocks)


QUICK = entry("quick", Target("≤", 1.5), [1.0, 9.0, 1.2, 1.1, 1.0], [1.0, 1.0, 0.2, 1.0, 4.0])
SLOW = entry("slow", Target("≥", 2.0), [30.0] * 5, [20.0] * 5)


@pytest.mark.anyio
async def test_the_sides_take_turns_and_each_begins_every_other_round() -> None:
    order: list[Side] = []

    def side(name: Side) -> Block:
        async def block() -> float:
            order.append(name)
            return 1.0

        return block

    measured = [one.side async for one in interleaved(4, side("ours"), side("peer"))]

    assert measured == ["ours", "peer", "peer", "ours", "ours", "peer", "peer", "ours"]
    assert order == ["ours", "peer", *measured], "one warm-up block a side comes first and is not measured"


@pytest.mark.anyio
async def test_a_result_is_made_of_medians_and_keeps_every_block() -> None:
    blocks_heard = []
    measured = await measure(QUICK, 5, lambda: blocks_heard.append(1))

    assert (measured.result.ours, measured.result.peer, measured.result.ratio) == (1.1, 1.0, 1.1)
    assert measured.result.holds
    assert measured.ours == (1.0, 9.0, 1.2, 1.1, 1.0)
    assert len(blocks_heard) == 10


@pytest.mark.anyio
async def test_fewer_than_five_blocks_are_no_measurement() -> None:
    with pytest.raises(ValueError, match="5 blocks a side, not 4 and 4"):
        await measure(QUICK, 4, lambda: None)


@pytest.mark.parametrize(
    ("target", "ratio", "holds"),
    [
        (Target("≤", 1.5), 1.5, True),
        (Target("≤", 1.5), 1.5001, False),
        (Target("≥", 2.0), 2.0, True),
        (Target("≥", 2.0), 1.9999, False),
        (Target("≤", 1.5), math.nan, False),
    ],
)
def test_a_target_holds_at_its_bound_and_not_beyond(target: Target, ratio: float, holds: bool) -> None:
    assert target.holds(ratio) is holds


@given(
    ours=st.lists(st.floats(1e-3, 1e6), min_size=5, max_size=9),
    peer=st.lists(st.floats(1e-3, 1e6), min_size=5, max_size=9),
)
def test_a_verdict_follows_from_the_ratio_before_it_is_rounded(ours: list[float], peer: list[float]) -> None:
    at_most, at_least = (judged(entry("x", Target(sign, 1.0), [], []), ours, peer).result for sign in ("≤", "≥"))

    middle, peers_middle = statistics.median(ours), statistics.median(peer)
    assert at_most.holds == (middle <= peers_middle)
    assert at_least.holds == (middle >= peers_middle)


def test_the_report_has_exactly_the_promised_fields_and_the_exit_code_tells(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"

    assert bench.report([QUICK], repeats=5, as_json=True, path=path) == 0
    assert bench.report([QUICK, SLOW], repeats=5, as_json=False, path=path) == 1

    written = json.loads(path.read_text())
    assert [one["name"] for one in written] == ["quick", "slow"], "all are measured, although one does not hold"
    assert set(written[0]) == {"name", "ours", "peer", "peer_name", "unit", "ratio", "target", "holds"}
    assert written[1] == {
        "name": "slow",
        "ours": 30.0,
        "peer": 20.0,
        "peer_name": "the other",
        "unit": "ms",
        "ratio": 1.5,
        "target": "≥ 2.0",
        "holds": False,
    }


def test_an_unknown_name_is_answered_with_the_names_there_are() -> None:
    answer = CliRunner().invoke(bench.main, ["--only", "latency"])

    assert answer.exit_code == 2
    assert all(one.name in answer.output for one in entries.ENTRIES)
    assert named(entries.ENTRIES, "") == entries.ENTRIES


def test_what_this_machine_lacks_is_named_and_the_others_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    lacking = msgspec.structs.replace(SLOW, find_lacking=lambda: "no engine (`make engine` builds it)")

    assert bench.measurable([QUICK, lacking], "") == [QUICK]
    assert capsys.readouterr().err == "slow: skipped, no engine (`make engine` builds it)\n"
    with pytest.raises(click.UsageError, match="slow cannot be measured here: no engine"):
        bench.measurable([lacking], "slow")


def test_the_engine_is_looked_for_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vllm_entries, "PYTHON", tmp_path / ".venv-vllm" / "bin" / "python")

    answer = CliRunner().invoke(bench.main, ["--only", "vllm_time_wrong_draft"])

    assert answer.exit_code == 2
    assert "`make vllm`" in answer.output
    installing = ("presidio", "litellm")  # asked, those install their peer
    ours = [each for each in entries.ENTRIES if not any(name in each.name for name in installing)]
    assert bench.measurable(ours, "") == [
        each for each in ours if not each.name.startswith("vllm_") and not each.find_lacking()
    ]


def test_an_entry_that_fails_costs_no_other_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def blocks(repeats: int) -> AsyncIterator[Measurement]:
        yield Measurement("ours", 1.0)
        raise MeasurementError(f"broken ended before {repeats} blocks")

    broken = msgspec.structs.replace(QUICK, name="broken", blocks=blocks)
    path = tmp_path / "bench.json"

    assert bench.report([broken, QUICK], repeats=5, as_json=False, path=path) == 1
    assert [one["name"] for one in json.loads(path.read_text())] == ["quick"]
    assert "not measured: broken ended before 5 blocks" in capsys.readouterr().err


@pytest.mark.anyio
async def test_seven_hops_walk_the_pipelines_own_table() -> None:
    hops = await chain.hops()

    assert [hop.stage for hop in hops] == [stage.name for stage in STAGES]
    assert [hop.sink for hop in hops[:-1]] == [hop.source for hop in hops[1:]], "each reads what the one before stored"
    assert all(len(hop.payload) > 100 for hop in hops)


WALKS = {
    "": lambda url, _: ours.walked(url),
    "bare.": bare.walked,
    "faststream.": faststream_chain.walked,
}


@pytest.mark.anyio
@pytest.mark.parametrize("prefix", WALKS)
async def test_every_side_answers_every_request_from_a_real_server(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hops = await chain.hops()
    async with (
        entries.server() as url,
        WALKS[prefix](url, hops),
        Asker.open(url, entries.entrance(prefix), f"live.{prefix}answers.>") as asker,
    ):
        assert await asker.median_ms(3) > 0
        assert await asker.rate(20, 8) > 0
        assert await stored(asker, STREAMS[prefix]) == {"ASKS": 23, "PIPE": 23 * 5, "ESCALATIONS": 23, "ANSWERS": 23}
        async with asyncio.timeout(5):
            while await unacknowledged(asker, STREAMS[prefix]):  # noqa: ASYNC110 - the server has no Event
                await asyncio.sleep(0.02)


STREAMS = {"": "", "bare.": "BARE_", "faststream.": "FASTSTREAM_"}


async def stored(asker: Asker, prefix: str) -> dict[str, int]:
    """How many messages lie in the streams of one side."""
    names = ("ASKS", "PIPE", "ESCALATIONS", "ANSWERS")
    return {name: (await asker.stream.stream_info(prefix + name)).state.messages for name in names}


async def unacknowledged(asker: Asker, prefix: str) -> int:
    """How many deliveries of one side were not brought to an end."""
    infos = [
        info for name in ("ASKS", "PIPE", "ESCALATIONS") for info in await asker.stream.consumers_info(prefix + name)
    ]
    working = [info for info in infos if not info.name.startswith("to-")]
    assert len(working) == len(STAGES)
    return sum((info.num_ack_pending or 0) + (info.num_pending or 0) for info in working)


BENCH = ROOT / "loadtests" / "bench"
COMMAND = re.compile(r"""["']-m["'],\s*["']([\w.]+)["']""")


def test_every_module_that_the_bench_starts_exists() -> None:
    started = {name for path in BENCH.glob("*.py") for name in COMMAND.findall(path.read_text(encoding="utf-8"))}

    assert "loadtests.bench.vllm_side" in started
    assert {name for name in started if find_spec(name) is None} == set()
