"""A follower that is killed, with SIGKILL, at any of its writes: what it goes on from is whole, and where it says."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.branch_index import LETTERS
from tests.support.corpus import BRANCH, HOURS, document
from tests.support.index_files import assert_the_leg_holds_what_the_database_says
from tests.support.replica_parts import EXACT, GRAPH, ReplicaLab
from tests.support.sync_parts import fast_directory
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.replica.index_follower import IndexFollower

NEW_HOURS = f"{HOURS}\nIt is new."


@pytest.mark.parametrize("exact_below", [EXACT, GRAPH])
def test_a_follower_that_is_killed_at_any_of_its_lines_loses_and_doubles_nothing(exact_below: int) -> None:
    with fast_directory() as path:
        kill_and_follow(Path(path), exact_below)


def kill_and_follow(home: Path, exact_below: int) -> None:
    lab = ReplicaLab(home, exact_below=exact_below)
    lab.write()
    lab.follower.start("documents")
    lab.index.close()
    lab.write([document("hours", NEW_HOURS), document("piano", "# Piano\n\nThe piano is in the lobby.")])
    lab.delete("coins")
    before = {each.id: each.text for each in BRANCH}
    wanted = {"fees": before["fees"], "stunden": before["stunden"], "hours": NEW_HOURS}
    wanted["piano"] = "# Piano\n\nThe piano is in the lobby."
    step = 16
    first = random.randint(1, step)
    print(f"first {first}")
    command = [sys.executable, "-m", "tests.support.follower_killing", *map(str, (home, exact_below, first, step))]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    killed = sorted(home.glob("killed-*"), key=lambda path: int(path.name.split("-")[1]))
    generations = []
    for path in killed:
        lab.index = HybridIndex.open(path, LETTERS, exact_below=exact_below)
        lab.follower = IndexFollower(lab.store, lab.index)
        generations.append(lab.follower.state("documents").generation)
        found = lab.held()
        assert all(text in (before.get(name), wanted.get(name)) for name, text in found.items())
        assert found == wanted or generations[-1] == 1, "it does not say that it is further than it is"
        lab.follower.follow("documents")
        assert lab.held() == wanted
        assert_the_leg_holds_what_the_database_says(path)
        lab.index.close()
    print(len(killed), "were killed")
    assert set(generations) == {1, 3}, "there are lines before the last commit, and lines after it"
    assert generations == sorted(generations), "what is in force stays"
