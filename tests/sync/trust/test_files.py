"""A file is there whole or not at all, and what a file will tell of is done only where it can be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.small_disk import mounted
from tests.support.trust_fleet import quick_settings
from tidegate.brokers.servers.credentials import create_credential
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.provision import provision_fleet
from tidegate.services.fleet.site_bundle import write_bundle
from tidegate.sync.trust.files import PRIVATE, replace_file, reserved
from tidegate.sync.trust.site_records import SiteRecords


def test_what_was_reserved_is_put_whole_with_its_mode_and_in_the_place_of_another(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "file"
    for data in (b"short", b"longer than was reserved", b""):
        with reserved(file, 7, PRIVATE) as put:
            assert not file.exists() or file.read_bytes() == b"", "nothing is there before"
            put(data)
        assert (file.read_bytes(), file.stat().st_mode & 0o777) == (data, PRIVATE)
        assert os.listdir(file.parent) == ["file"]
        file.write_bytes(b"")


def test_where_what_it_tells_of_fails_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"before")
    with pytest.raises(KeyError), reserved(tmp_path / "file"):
        raise KeyError
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"before"}


def test_a_full_disk_is_noticed_before_with_the_path_and_leaves_nothing(tmp_path: Path) -> None:
    settings = quick_settings(tmp_path)
    provision_fleet(settings, ("site1",))
    with mounted(tmp_path / "disk", 1) as disk:
        disk.fill()
        file = disk.path / "file"
        with pytest.raises(OSError, match="No space left") as refused, reserved(file):
            pytest.fail("there is no room")
        assert refused.value.filename == str(file)
        with pytest.raises(OSError, match="No space left"):
            replace_file(file, b"x")
        with pytest.raises(OSError, match="No space left"):
            create_credential(file)
        with pytest.raises(OSError, match="No space left"):
            write_bundle(settings, "site2", file)
        assert os.listdir(disk.path) == ["filler"]
    records = SiteRecords(StatePaths(settings).state / HUB / "sites")
    assert records.sites() == ("site1",), "no site is enrolled whose bundle is nowhere"
