"""A tenant's own reader: used by that tenant, on top of the reader that it was made for, and by nobody else."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.support.corpus import BRANCH
from tests.support.tuned_reader import FIGURES, tune_for
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.calibration import SHIPPED
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.train import QuestionSample, fit_heads, is_better
from tidegate.services.knowledge.reader.tuning import (
    FoundTuning,
    find_tuning,
    tuned_tenants,
    tuning_directory,
)
from tidegate.services.knowledge.reader.unit_reader import UnitReader, read_version

DRAFT = "What does a banker's draft cost?"


@pytest.fixture(scope="module")
def units() -> UnitReader:
    return UnitReader.load(Path(".models"))


def test_an_artefact_is_found_by_its_tenant_and_by_nobody_else(units: UnitReader, tmp_path: Path) -> None:
    saved = tune_for(tmp_path, "north", units)
    found = find_tuning(tmp_path, "north", units.version)
    assert (found.version, found.ignored) == (saved.version, "")
    assert found.tuning is not None
    assert found.tuning.ranking == units.ranking
    assert find_tuning(tmp_path, "south", units.version) == FoundTuning()
    shutil.copytree(tuning_directory(tmp_path, "north"), tuning_directory(tmp_path, "south"))
    copied = find_tuning(tmp_path, "south", units.version)
    assert (copied.tuning, copied.ignored) == (None, "it was made for the tenant north")
    assert tuned_tenants(tmp_path) == ("north", "south")


def test_one_for_another_reader_or_with_other_weights_is_not_used_and_the_reason_is_given(
    units: UnitReader, tmp_path: Path
) -> None:
    tune_for(tmp_path, "north", units, base="0123456789ab")
    assert find_tuning(tmp_path, "north", units.version).ignored == (
        f"it was made for the reader 0123456789ab, and this is {units.version}"
    )
    tune_for(tmp_path, "north", units, more=3.0)
    weights = tuning_directory(tmp_path, "north") / "reader.json"
    weights.write_bytes(weights.read_bytes().replace(b"3.0", b"4.0"))
    assert "not the file that its manifest names" in find_tuning(tmp_path, "north", units.version).ignored
    weights.unlink()
    assert "cannot be read" in find_tuning(tmp_path, "north", units.version).ignored
    (tuning_directory(tmp_path, "north") / "manifest.json").write_text("{}")
    assert "cannot be read" in find_tuning(tmp_path, "north", units.version).ignored


def test_the_version_of_the_reader_is_known_without_loading_it(units: UnitReader, tmp_path: Path) -> None:
    assert read_version(Path(".models")) == units.version
    assert read_version(tmp_path) == ""


def test_a_tuned_reader_moves_its_own_logits_and_leaves_the_shared_one_as_it_is(
    units: UnitReader, tmp_path: Path
) -> None:
    index = HybridIndex.open(tmp_path / "index", units.embedder)
    index.upsert(list(BRANCH))
    version = tune_for(tmp_path, "north", units, more=3.0).version
    own = units.tuned(find_tuning(tmp_path, "north", units.version))
    found = Reader(units, SHIPPED).retrieve(DRAFT, "en", index.find(DRAFT, 8, "en"), index)
    shipped, tuned, again = (each.read(DRAFT, found.held_units(), 2) for each in (units, own, units))
    assert shipped == again
    assert shipped
    assert tuned == pytest.approx({unit: logit + 3.0 for unit, logit in shipped.items()}, abs=1e-3)
    assert own.version == f"{units.version}+{version}"
    assert units.tuned(FoundTuning(ignored="why")) is units


@pytest.mark.parametrize(
    ("change", "better"),
    [({"auc": 0.71}, True), ({}, False), ({"auc": 0.71, "first_right": 0.49}, False), ({"right_at_tenth": 0.2}, False)],
)
def test_better_is_worse_in_nothing_and_better_in_something(change: dict[str, float], better: bool) -> None:
    assert is_better(msgspec.structs.replace(FIGURES, **change), FIGURES) is better


def samples(count: int, *, loud: float, seed: int = 5) -> list[QuestionSample]:
    """Questions with four units of eight states, of which the first says, as loudly as `loud`, which unit is right."""
    draw = np.random.default_rng(seed)
    made = []
    for number in range(count):
        is_answerable = number % 3 > 0
        right = np.arange(4) == (number % 4 if is_answerable else -1)
        states = draw.normal(size=(4, 8)).astype(np.float32)
        states[:, 0] += loud * (2 * right - 1)
        made.append(QuestionSample(None, right, is_answerable, draw.normal(-1.0, 0.5, 4), states))  # type: ignore[arg-type]
    return made


def test_a_head_is_learned_from_what_the_states_say_and_not_from_noise() -> None:
    folds = np.arange(120) % 5
    everyone = np.full(120, True)
    [head] = fit_heads(samples(120, loud=1.5), folds, [everyone])
    assert head[0] > 4 * np.abs(head[1:-1]).max()
    fresh = samples(60, loud=1.5, seed=6)
    before = np.mean([sample.right[sample.logits.argmax()] for sample in fresh if sample.is_answerable])
    moved = [(sample, sample.logits + sample.states @ head[:-1] + head[-1]) for sample in fresh]
    after = np.mean([sample.right[logits.argmax()] for sample, logits in moved if sample.is_answerable])
    assert after > before + 0.3
    [noise] = fit_heads(samples(120, loud=0.0), folds, [everyone])
    assert len(noise) == 0 or np.abs(noise[:-1]).max() < 0.15
