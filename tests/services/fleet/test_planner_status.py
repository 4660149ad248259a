"""What `tidegate status` tells of drafts and forecasts, from the file that a router keeps."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from tidegate.schemas import Speculation
from tidegate.services.cli.status import print_planners
from tidegate.services.fleet.endpoints import write_state
from tidegate.services.fleet.planner_status import PlannerStatus, read_planner
from tidegate.services.fleet.status import DomainStatus, FleetStatus, ServerStatus
from tidegate.services.planning.answer_class import AnswerClass
from tidegate.services.planning.draft_ledger import DraftLedger
from tidegate.services.planning.experience import PlannerState
from tidegate.services.planning.learned_times import LearnedTimes, ObservedTime

CARDS = AnswerClass("cloud", "kiosk", "target@1", "grounded", "cards")
HELPED = Speculation(steps=10, tokens=40, drafted=40, accepted=30, draft_bytes=300)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """What a router has kept after a few answers."""
    times, ledger = LearnedTimes(), DraftLedger()
    for evidence, took_ms in ((1, 110.0), (4, 190.0), (4, 900.0)):
        times.observe(CARDS._replace(evidence=evidence), ObservedTime(100.0, took_ms))
    times.observe(CARDS._replace(where="edge", model="reader"), ObservedTime(100.0, 20.0))
    for spent in (HELPED, HELPED, Speculation(steps=0, tokens=0, draft_bytes=90)):
        ledger.observe(CARDS, spent)
    state = PlannerState(times=list(times.lines), drafts=list(ledger.lines))
    for line in state.drafts:
        line.pays = True
    write_state(tmp_path / "planner.json", state)
    return tmp_path / "planner.json"


def test_the_ledger_and_the_forecasts_are_told_by_class_in_numbers_and_words(path: Path) -> None:
    found = msgspec.to_builtins(read_planner(path))
    of_class = {"tenant": "kiosk", "model": "target@1", "writing": "grounded", "class": "cards"}
    counts = {"answers": 3, "shipped": 3, "uncalled": 1, "drafted": 80, "accepted": 60, "wasted": 20, "steps_saved": 60}
    assert found["drafts"] == [{**of_class, **counts, "bytes_per_accepted": 11.5, "verdict": "pays"}]
    assert found["forecasts"] == [
        {"where": "cloud", **of_class, "judged": 3, "within_two": 2},
        {"where": "edge", **of_class, "model": "reader", "judged": 1, "within_two": 0},
    ]


def test_status_prints_them(path: Path) -> None:
    console = Console(record=True, width=180, highlight=False, markup=False)
    site = DomainStatus(name="site1", server=ServerStatus(url=""), planner=read_planner(path))
    fleet = FleetStatus(state_dir="", version="", pack="", policies={}, domains=[site], problems=[])
    print_planners(console, fleet)
    shown = console.export_text()
    rows = [line.split() for line in shown.splitlines()]
    assert ["site1", "kiosk", "target@1", "grounded", "cards", "3", "3", "80", "60", "20", "60", "11.5", "pays"] in rows
    assert ["site1", "kiosk", "target@1", "grounded", "cards", "cloud", "3", "67%"] in rows


@pytest.mark.parametrize("damage", [None, b"", b"{", b"[]", b'{"drafts": 1}'])
def test_a_site_that_has_learned_nothing_has_nothing_to_tell(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "planner.json"
    if damage is not None:
        path.write_bytes(damage)
    assert read_planner(path) == PlannerStatus()
