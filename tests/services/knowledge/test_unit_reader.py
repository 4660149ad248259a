"""The cross-encoder reads the windows it is told to, text by text, and only where retrieval is unsure."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from tests.support.corpus import BRANCH, document
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.hybrid import DocumentUnits, HybridIndex
from tidegate.services.knowledge.reader.calibration import SHIPPED
from tidegate.services.knowledge.reader.effort import Effort
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.together import Helpers
from tidegate.services.knowledge.reader.unit_reader import UnitReader, UnitReaderMissingError

MODELS = Path(".models")
T = TypeVar("T")
DRAFT = "What does a banker's draft cost?"


@pytest.fixture(scope="module")
def units() -> UnitReader:
    return UnitReader.load(MODELS)


def held(index: HybridIndex, each: Document) -> DocumentUnits:
    found = index.units(each.id, each.version)
    assert found is not None
    return found


def index_of(documents: Iterable[Document], units: UnitReader, path: Path) -> HybridIndex:
    index = HybridIndex.open(path, units.embedder)
    index.upsert(list(documents))
    return index


def test_what_answers_has_the_highest_logit_and_no_more_is_read_than_allowed(units: UnitReader, tmp_path: Path) -> None:
    text = "\n\n".join(f"## Part {number}\n\nNumber {number} opens at {number} and shuts soon." for number in range(40))
    long = document("long", f"# Long\n\nA banker's draft costs £12 here.\n\n{text}")
    index = index_of([long], units, tmp_path)
    found = held(index, long)
    logits = units.read(DRAFT, ((found, number) for number in range(len(found.units))), 1)
    assert max(logits, key=lambda unit: logits[unit]) == ("long", 0)
    assert 1 < len(logits) < len(found.units)
    assert set(logits) < set(units.read(DRAFT, ((found, number) for number in range(len(found.units))), 3))
    assert units.read(DRAFT, (), 3) == {}


def test_a_logit_does_not_depend_on_what_is_read_beside_it(units: UnitReader, tmp_path: Path) -> None:
    index = index_of(BRANCH, units, tmp_path)
    first = [(held(index, each), 0) for each in BRANCH[:4]]
    alone = {unit: logit for each in first for unit, logit in units.read(DRAFT, [each], 1).items()}
    helpers = CountingHelpers()
    for fresh in (new_reader(units), new_reader(units).helped_by(helpers)):
        together = fresh.read(DRAFT, first, 4)
        assert len(together) > 4
        assert together == alone
    assert helpers.jobs == 4


class CountingHelpers(Helpers):
    """One helper, and how many pieces of work were last given to it and to who asks."""

    def __init__(self) -> None:
        super().__init__(1)
        self.jobs = 0

    def run(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        self.jobs = len(jobs)
        return super().run(jobs)


def new_reader(units: UnitReader) -> UnitReader:
    return UnitReader(MODELS / "multilingual", units.embedder)


def test_two_texts_under_one_id_are_told_apart(units: UnitReader, tmp_path: Path) -> None:
    one = document("same", "# Same\n\nA banker's draft costs £12.")
    other = msgspec.structs.replace(one, text="# Same\n\nThe pool opens at seven.")
    logits = [
        units.read(DRAFT, [(held(index_of([each], units, tmp_path / str(number)), each), 0)], 1)["same", 0]
        for number, each in enumerate((one, other))
    ]
    assert logits[0] > logits[1]


@pytest.mark.parametrize(("hopeless", "sure", "is_read"), [(0.0, 1.0, True), (0.0, 0.001, False), (0.999, 1.0, False)])
def test_units_are_read_only_between_hopeless_and_sure(
    units: UnitReader, tmp_path: Path, hopeless: float, sure: float, is_read: bool
) -> None:
    index = index_of(BRANCH, units, tmp_path)
    reader = Reader(units, SHIPPED, Effort(windows=1, hopeless=hopeless, sure=sure))
    passages = index.find(DRAFT, 8, "en")
    ranked, _, _ = reader.read(DRAFT, "en", passages, index)
    assert any(each.signals.logit is not None for each in ranked) is is_read
    ranked, _, _ = reader.read(DRAFT, "en", passages, index, may_read=False)
    assert all(each.signals.logit is None for each in ranked)


@pytest.mark.parametrize("helpers", [0, 1])
@pytest.mark.parametrize(("enough", "windows"), [(0.001, 1), (0.999, 2), (1.0, 2)])
def test_no_further_window_counts_once_the_confidence_is_enough(
    units: UnitReader, tmp_path: Path, enough: float, windows: int, helpers: int
) -> None:
    """Whoever may have begun it meanwhile."""
    helped = units.helped_by(Helpers(helpers))
    index = index_of(BRANCH, units, tmp_path)
    passages = index.find(DRAFT, 8, "en")

    def read(effort: Effort) -> set[tuple[str, int]]:
        ranked, _, _ = Reader(helped, SHIPPED, effort).read(DRAFT, "en", passages, index)
        return {each.span for each in ranked if each.signals.logit is not None}

    by_windows = [read(Effort(windows=most, hopeless=0.0, sure=1.0)) for most in (1, 2)]
    assert by_windows[0] < by_windows[1]
    assert read(Effort(windows=2, hopeless=0.0, sure=1.0, enough=enough)) == by_windows[windows - 1]


@pytest.mark.parametrize(("likely", "begun"), [(1.0, 2), (0.001, 1)])
def test_a_second_window_is_begun_beside_the_first_only_where_it_is_likely_to_count(
    units: UnitReader, tmp_path: Path, likely: float, begun: int
) -> None:
    index, helpers = index_of(BRANCH, units, tmp_path), EagerHelpers()
    effort = Effort(windows=2, hopeless=0.0, sure=1.0, enough=0.001, likely=likely)
    Reader(units.helped_by(helpers), SHIPPED, effort).read(DRAFT, "en", index.find(DRAFT, 8, "en"), index)
    assert 1 + helpers.begun == begun


class EagerHelpers(Helpers):
    """Begins at once what a helper that is free would begin."""

    def __init__(self) -> None:
        super().__init__(0)
        self.begun = 0

    def in_turn(self, jobs: Sequence[Callable[[], T]]) -> Generator[T, None, None]:
        self.begun = len(jobs) - 1
        done = [job() for job in jobs]
        yield from done


def test_a_missing_or_changed_file_is_named(units: UnitReader, tmp_path: Path) -> None:
    for name in ("read.onnx", "ranking.json", "manifest.json"):
        shutil.copy(MODELS / "multilingual" / name, tmp_path / name)
    assert UnitReader(tmp_path, units.embedder).version == units.version
    ranking = json.loads((tmp_path / "ranking.json").read_text())
    (tmp_path / "ranking.json").write_text(json.dumps({**ranking, "thresholds": {}}))
    with pytest.raises(UnitReaderMissingError, match=r"ranking\.json is not the file"):
        UnitReader(tmp_path, units.embedder)
    (tmp_path / "read.onnx").unlink()
    with pytest.raises(UnitReaderMissingError, match="make models"):
        UnitReader(tmp_path, units.embedder)
