"""Who has an account on a site's machine, and is not its operator, reads nothing of it and puts nothing into it."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.brokers.process.private_files import SharedDirectoryError, close_to_others
from tidegate.brokers.servers.fleet import check_free, open_fleet

pytestmark = pytest.mark.anyio


@given(st.integers(0, 0o7777))
def test_a_state_directory_is_nobody_else_s_and_stays_its_owner_s_and_its_group_s(mode: int) -> None:
    with tempfile.TemporaryDirectory() as own:
        directory = Path(own) / "state"
        directory.mkdir()
        directory.chmod(mode)
        found = stat.S_IMODE(directory.stat().st_mode)
        if found & stat.S_ISVTX and found & stat.S_IWOTH:
            with pytest.raises(SharedDirectoryError, match="everybody writes"):
                close_to_others(directory)
            assert stat.S_IMODE(directory.stat().st_mode) == found, "it is not ours to close"
        else:
            close_to_others(directory)
            assert stat.S_IMODE(directory.stat().st_mode) == found & ~0o007


async def test_what_up_starts_closes_the_directory_that_it_makes_and_one_that_an_older_version_made(
    tmp_path: Path,
) -> None:
    made = tmp_path / "state"
    before = os.umask(0o022)
    try:
        async with open_fleet(made, []):
            assert stat.S_IMODE(made.stat().st_mode) == 0o700
        made.chmod(0o755)
        async with open_fleet(made, []):
            assert stat.S_IMODE(made.stat().st_mode) == 0o750
    finally:
        os.umask(before)


def test_a_state_directory_in_which_everybody_puts_links_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(SharedDirectoryError) as refused:
        check_free(shared)
    assert "a directory of your own" in refused.value.hint
    assert list(shared.iterdir()) == []
