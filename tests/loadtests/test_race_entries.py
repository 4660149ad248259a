"""The entries of the race: laps that are run once, and first askings that are told apart from second ones."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from loadtests.bench import race
from loadtests.bench.edge_lm import EDGE_LM_ENTRIES
from loadtests.bench.measure import Samples, held, named
from loadtests.bench.race_client import Received, Refusal
from loadtests.bench.race_sites import with_environment
from tidegate.schemas import Guess, Published, Receipt
from tidegate.services.cli.options import find_default_pack
from tidegate.services.fleet.supervisor import Program
from tidegate.services.packs.load import load_pack

pytestmark = pytest.mark.anyio

RECEIPT = Receipt(site="site1", route="edge", plan=None, lineage=(), citations=(), decisions=())
PUBLISHED = Published(
    rid="r1",
    tenant="kiosk",
    site="site1",
    asked_at_ms=1,
    deadline_at_ms=2,
    outcome="answered",
    text="x",
    confidence=0.9,
    receipt=RECEIPT,
)


def test_every_distance_has_its_two_entries_and_they_look_at_the_same_laps() -> None:
    names = [entry.name for entry in race.RACE_ENTRIES]
    assert names == [
        f"{what}_rtt{rtt_ms}" for rtt_ms in (10, 50, 100, 200) for what in ("ttft_shown", "final_vs_cloud_stream")
    ]
    assert named((*race.RACE_ENTRIES, *EDGE_LM_ENTRIES), "edge_lm_tokens_per_second") == EDGE_LM_ENTRIES
    for rtt_ms in race.RTTS_MS:
        shown, final = [entry for entry in race.RACE_ENTRIES if entry.name.endswith(f"rtt{rtt_ms}")]
        assert shown.blocks.keywords["schedule"] is final.blocks.keywords["schedule"]  # type: ignore[attr-defined]


async def test_rounds_are_run_once_and_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule, runs = race.RaceSchedule(50), []

    async def run(repeats: int) -> AsyncIterator[race.RaceRound]:
        runs.append(repeats)
        schedule.kinds = {"q": "hub"}
        for number in range(repeats):
            answered = Received(shown_ms=number + 1.0, committed_ms=2.0, final_ms=9.0, text="x", published=PUBLISHED)
            yield race.RaceRound("ours", {"q": answered})
            yield race.RaceRound("peer", {"q": Received(final_ms=20.0)})

    monkeypatch.setattr(schedule, "_run", run)
    shown = [block async for block in race.race_blocks(5, schedule=schedule, value_of=race.median_shown_ms)]
    final = [block async for block in race.race_blocks(5, schedule=schedule, value_of=race.mean_final_ms)]
    assert runs == [5]
    assert [block.value for block in shown if block.side == "ours"] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert {block.value for block in final if block.side == "ours"} == {9.0}
    assert {block.value for block in shown if block.side == "peer"} == {race.BUDGET_MS}, "never shown is not fast"
    assert shown[0].samples["shown, hub"] == (1.0,)
    assert shown[1].samples["plain streaming"] == (0.0,), "a peer without a plan streamed nothing"


def received(shown_ms: float, guess: Guess | None = None) -> Received:
    published = msgspec.structs.replace(PUBLISHED, receipt=msgspec.structs.replace(RECEIPT, guess=guess))
    return Received(shown_ms=shown_ms, committed_ms=shown_ms, final_ms=shown_ms, text="x", published=published)


def test_what_is_asked_for_the_first_time_is_distinguished_from_what_is_asked_again() -> None:
    kinds = {"q": "hub", "r": "answerable"}
    first = race.timed(race.RaceRound("ours", {"q": received(160.0), "r": received(10.0)}, is_first=True), kinds)
    again = race.timed(race.RaceRound("ours", {"q": received(14.0, "cached_answer"), "r": received(10.0)}), kinds)
    assert (first["shown"], first["shown, asked first"]) == ((160.0, 10.0), (160.0, 10.0))
    assert (first["shown, hub, asked first"], again["shown, hub, asked again"]) == ((160.0,), (14.0,))
    assert again["past answers shown, asked again"] == (1.0, 0.0)
    assert not any("asked again" in name for name in first)
    assert not any("asked first" in name for name in again)


def test_a_first_asking_in_which_something_was_remembered_is_none_and_fails() -> None:
    for guess, holds in (("draft", True), ("cached_answer", False)):
        race_round = race.timed(race.RaceRound("ours", {"q": received(1.0, guess)}, is_first=True), {"q": "hub"})  # type: ignore[arg-type]
        samples: Samples = {"ours": {name: list(values) for name, values in race_round.items()}, "peer": {}}
        assert held(race.NOTHING_REMEMBERED, samples).holds is holds


def test_what_warms_is_never_what_is_measured_and_what_our_side_does_not_answer_is_not_compared() -> None:
    pack = load_pack(find_default_pack())
    measured, warming = race.questions_of(pack), race.others_of(pack)
    assert len(measured) == sum(race.KINDS.values())
    assert len(warming) == race.WARMING * len(race.KINDS)
    assert not {each.text for each in measured} & {each.text for each in warming}
    one, other = measured[:2]
    assert race.both_answer([one, other], {one.id: received(1.0), other.id: Received(final_ms=9.0)}, 50) == [one]
    with pytest.raises(Refusal, match="no question that both sides answer"):
        race.both_answer([other], {other.id: Received(final_ms=9.0)}, 50)


def test_a_site_gets_its_own_part_only() -> None:
    told_ = {"race": {"A": "1"}, "hub": {"B": "2"}}
    for name, expected in (
        ("race/all", {"C": "3", "A": "1"}),
        ("stream/all", {"C": "3"}),
        ("hub/all", {"C": "3", "B": "2"}),
    ):
        program = Program(name=name, argv=(), env={"C": "3"}, log=race.SCRATCH, ready=race.SCRATCH)
        assert with_environment(program, told_).env == expected
