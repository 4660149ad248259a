"""What is in force at a site: a whole generation, or the one before it, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.generation_killing import activate, parts
from tests.support.paths import ROOT
from tidegate.services.packs.generations import (
    HELD_S,
    KEPT,
    GenerationDamagedError,
    GenerationGoneError,
    GenerationRecord,
    GenerationStore,
)
from tidegate.services.packs.parts import PackPart, PartNameError


def test_wherever_an_activation_is_killed_the_old_or_the_new_generation_is_in_force(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.generation_killing", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    rows = json.loads(done.stdout)
    assert len(rows) > 60, "it was killed at too few lines"
    assert [found for _, found, *_ in rows if found] == []
    epochs = [epoch for epoch, *_ in rows]
    assert epochs == sorted(epochs), "once the new one is in force it stays so"
    assert set(epochs) == {4, 5}
    assert all(after in (5, 6) and after == max(numbers) for _, _, after, numbers in rows), "numbers only grow"


def test_what_cannot_be_made_or_used_is_refused_and_what_was_in_force_stays(tmp_path: Path) -> None:
    first = activate(tmp_path, 1)
    store = GenerationStore(tmp_path)

    def fail(_draft: Path, _: object) -> Mapping[str, str]:
        raise ValueError("it cannot be made of these")

    def check(draft: Path, record: GenerationRecord) -> None:
        assert (draft / "policies" / "branch.yaml").read_bytes() == parts(2)[1].data
        assert record.number == first + 1
        raise ValueError("it cannot be used")

    for make, verify, reason in ((fail, check, "be made"), (lambda *_: {}, check, "be used")):
        with pytest.raises(ValueError, match=reason):
            store.activate(parts(2), {}, make, verify)
    wrong = (*parts(2), PackPart("intents", "others", b"[]"))
    with pytest.raises(PartNameError, match="intents/others"):
        store.activate(wrong, {}, lambda *_: {}, lambda *_: None)
    current = store.current()
    assert current is not None
    assert (current.number, current.epochs) == (first, {"policy/branch": 1})
    assert sorted(each.name for each in tmp_path.iterdir()) == [".lock", "1", "current"]


def test_the_last_generations_are_kept_and_those_that_a_request_may_still_be_pinned_to(tmp_path: Path) -> None:
    store = GenerationStore(tmp_path)
    numbers = [activate(tmp_path, epoch) for epoch in range(1, 7)]
    assert [store.record(number).number for number in numbers] == numbers, "all of them ended just now"
    for number in numbers[:-1]:
        os.utime(store.path(number), (0, 0))
    numbers.append(activate(tmp_path, 7))
    held = [number for number in numbers if store.path(number).is_dir()]
    assert held == numbers[-KEPT:]
    with pytest.raises(GenerationGoneError) as gone:
        store.record(numbers[0])
    assert gone.value.hint
    assert HELD_S > 600, "the longest budget of a request"


def test_a_generation_ends_when_its_successor_comes_into_force_and_not_when_it_was_made(tmp_path: Path) -> None:
    store = GenerationStore(tmp_path)
    numbers = [activate(tmp_path, epoch) for epoch in range(1, 5)]
    for number in numbers:
        os.utime(store.path(number), (0, 0))  # they were made long ago
    numbers += [activate(tmp_path, epoch) for epoch in range(5, 9)]
    assert store.record(numbers[3]).number == numbers[3], "a request may have begun with it a moment ago"
    assert not store.path(numbers[2]).exists()


def test_a_pointer_or_a_record_that_cannot_be_read_is_damage_and_activating_anew_mends_it(tmp_path: Path) -> None:
    store = GenerationStore(tmp_path / "active")
    assert store.current() is None
    for epoch in (1, 2):
        number = activate(store.directory, epoch)
        (store.pointer if epoch == 1 else store.path(number) / "generation.json").write_bytes(b"{")
        with pytest.raises(GenerationDamagedError) as found:
            store.current()
        assert found.value.hint
        assert store.usable() is None
        assert activate(store.directory, 3) == number + 1
        current = store.current()
        assert current is not None
        assert current.number == number + 1


def test_two_writers_at_once_bring_one_generation_after_the_other_into_force(tmp_path: Path) -> None:
    numbers: list[int] = []
    threads = [
        threading.Thread(target=lambda epoch=epoch: numbers.append(activate(tmp_path, epoch))) for epoch in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
