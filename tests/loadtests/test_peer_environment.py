"""A peer's environment is made once, and why it could not be made is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.bench.peer_environment import make_environment


def test_one_that_has_the_packages_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "packages.txt").write_text("one==1\ntwo==2")
    assert make_environment(tmp_path, ("one==1", "two==2")) == tmp_path / "bin" / "python"
    assert [each.name for each in tmp_path.iterdir()] == ["packages.txt"]


def test_why_none_could_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    directory = tmp_path / "file" / "peer"
    with pytest.raises(OSError, match=r"peer|directory"):
        make_environment(directory, ("one==1",))
    assert not directory.exists()
