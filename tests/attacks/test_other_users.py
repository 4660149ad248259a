"""Who has an account on a site's machine, and is not its operator, reads nothing of it and puts nothing into it."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.brokers.process.private_files import KeyFileError, SharedDirectoryError, close_to_others
from tidegate.brokers.servers.fleet import check_free, open_fleet

pytestmark = pytest.mark.anyio


@given(st.integers(0, 0o7777))
def test_a_state_directory_is_nobody_else_s_and_its_group_may_look_and_not_write(mode: int) -> None:
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
            assert stat.S_IMODE(directory.stat().st_mode) == found & ~0o027


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


def write_keys(state: Path) -> list[Path]:
    made = [state / "keys" / "site1.key", state / "keys" / "tls" / "authority.key"]
    for each in made:
        each.parent.mkdir(parents=True, exist_ok=True)
        each.write_bytes(b"k" * 32)
    return made


@given(st.integers(0, 0o777), st.integers(0, 0o777))
def test_keys_are_their_owner_s_alone_however_they_were_left(file_mode: int, directory_mode: int) -> None:
    with tempfile.TemporaryDirectory() as own:
        files = write_keys(Path(own) / "state")
        for each in files:
            each.chmod(file_mode)
            each.parent.chmod(directory_mode | 0o700)
        closed = close_to_others(Path(own) / "state")
        for each in files:
            assert stat.S_IMODE(each.stat().st_mode) == file_mode & ~0o077
            assert stat.S_IMODE(each.parent.stat().st_mode) == (directory_mode | 0o700) & ~0o077
            assert (str(each) in closed) == bool(file_mode & 0o077), "whoever runs it hears which others may have read"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")
def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    [key, _] = write_keys(tmp_path / "state")
    os.chown(key, 12345, -1)
    with pytest.raises(KeyFileError, match="of another user, 12345"):
        close_to_others(tmp_path / "state")


def test_what_would_hold_up_whoever_reads_it_is_refused(tmp_path: Path) -> None:
    write_keys(tmp_path / "state")
    os.mkfifo(tmp_path / "state" / "keys" / "site2.key")
    with pytest.raises(KeyFileError, match="no file and no directory"):
        check_free(tmp_path / "state")


def test_a_link_among_the_keys_changes_nothing_of_what_it_leads_to(tmp_path: Path) -> None:
    outside = tmp_path / "shared.pem"
    outside.write_text("for all")
    outside.chmod(0o644)
    write_keys(tmp_path / "state")
    (tmp_path / "state" / "keys" / "shared.pem").symlink_to(outside)
    assert str(tmp_path / "state" / "keys" / "shared.pem") not in close_to_others(tmp_path / "state")
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644
