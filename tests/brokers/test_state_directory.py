"""A state directory is used by this version and later ones; what a later one has written is left as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.brokers.process.state_directory import (
    FORMAT_FILE,
    STATE_FORMAT,
    FormatUnreadableError,
    StateTooNewError,
    check_state,
    open_state,
)
from tidegate.brokers.servers.fleet import check_free


def listing(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_directory_that_is_new_or_older_says_who_may_use_it_from_then_on(tmp_path: Path) -> None:
    for directory, before in ((tmp_path / "new", None), (tmp_path / "unmarked", ""), (tmp_path / "older", "0\n")):
        if before is not None:
            directory.mkdir()
        if before:
            (directory / FORMAT_FILE).write_text(before)
        check_state(directory)
        assert not directory.exists() or before is not None, "a look makes nothing"
        open_state(directory)
        assert listing(directory) == {FORMAT_FILE: b"%d\n" % STATE_FORMAT}


def test_the_state_of_a_later_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / FORMAT_FILE).write_text(f"{STATE_FORMAT + 1}\n")
    (tmp_path / "fleet.json").write_text("whatever a later version writes")
    tmp_path.chmod(0o755)
    before = listing(tmp_path)
    for use in (check_state, open_state, check_free):
        with pytest.raises(
            StateTooNewError, match=f"format {STATE_FORMAT + 1}, this version uses {STATE_FORMAT}"
        ) as no:
            use(tmp_path)
        assert "backup" in no.value.hint
    assert listing(tmp_path) == before
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_number_that_cannot_be_read_is_no_reason_to_begin(tmp_path: Path) -> None:
    (tmp_path / FORMAT_FILE).write_text("half a num")
    with pytest.raises(FormatUnreadableError, match="cannot be read"):
        open_state(tmp_path)
    assert (tmp_path / FORMAT_FILE).read_text() == "half a num"
