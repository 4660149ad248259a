"""A writer that is killed, with SIGKILL, at any moment: what it had begun is there whole, with its position, or not."""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.branch_index import LETTERS
from tests.support.index_files import assert_the_leg_holds_what_the_database_says
from tests.support.index_life import after
from tidegate.services.knowledge.index.hybrid import HybridIndex


def run_and_kill(path: Path, exact_below: int, fold_at: int, rng: random.Random) -> int:
    """The last change that was begun before the process was killed."""
    command = [sys.executable, "-m", "tests.support.index_life", str(path), str(exact_below), str(fold_at)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(rng.randint(2, 5))]
        assert all(lines), "it ended by itself"
        select.select([process.stdout], [], [], rng.random() * 0.15)  # any moment of the change that was just begun
        process.kill()
        lines += process.stdout.readlines()
    return int(next(line for line in reversed(lines) if line.startswith(b"change ")).split()[1])


def position_of_a_whole_index(path: Path, exact_below: int, fold_at: int) -> int:
    """Where it says that it stands, if it holds what it must hold there, in every leg."""
    index = HybridIndex.open(path, LETTERS, exact_below=exact_below, fold_at=fold_at)
    position = int(index.state("position") or b"0")
    live = after(position)
    passages = index.search("lantern harbour", LETTERS.embed("lantern harbour"), 50, "en")
    assert {each.document_id: each.document_version for each in passages} == live
    assert len(passages) == index.status().passages == 2 * len(live)
    assert index.document_ids() == set(live)
    assert_the_leg_holds_what_the_database_says(path)
    index.close()
    return position


@pytest.mark.parametrize(("exact_below", "fold_at"), [(1_000, 1_000), (2, 8)])
def test_what_a_killed_writer_had_begun_is_whole_or_absent(tmp_path: Path, exact_below: int, fold_at: int) -> None:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    rng, path = random.Random(seed), tmp_path / "index"
    for _ in range(3):
        begun = run_and_kill(path, exact_below, fold_at, rng)
        assert position_of_a_whole_index(path, exact_below, fold_at) in (begun, begun - 1)


@pytest.mark.parametrize("exact_below", [1_000, 2])
def test_a_writer_that_is_killed_at_any_of_its_lines_leaves_a_whole_index(tmp_path: Path, exact_below: int) -> None:
    """By the clock a gap between two commits is hardly ever hit; by the line it is."""
    step = 4
    first = random.randint(1, step)
    print(f"first {first}")
    command = [sys.executable, "-m", "tests.support.index_killing", *map(str, (tmp_path, exact_below, first, step))]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    killed = sorted(tmp_path.glob("killed-*"), key=lambda path: int(path.name.split("-")[1]))
    positions = [position_of_a_whole_index(path, exact_below, 1_000) for path in killed]
    assert set(positions) == {1, 2}, "there are lines before the commit, and lines after it"
    assert positions == sorted(positions), "what is in force stays"
