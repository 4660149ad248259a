"""`tidegate privacy erase`: nobody is erased where the certificate cannot be kept, and what is erased is logged."""

from __future__ import annotations

from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.small_disk import mounted
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.vault import open_vault
from tidegate.services.settings import Settings


def held(settings: Settings) -> int:
    with closing(open_vault(settings)) as vault:
        return len(vault.held("kiosk", vault.digest_of_asker("kiosk", "ann", "")))


def test_nobody_is_erased_where_the_certificate_cannot_be_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(state_dir=str(tmp_path / "state"))
    with closing(open_vault(settings)) as vault:
        vault.put_all("kiosk", vault.digest_of_asker("kiosk", "ann", ""), [("EMAIL", "ann@example.org")])
    command_line = CommandLine(settings.state_dir)
    command_line.capsys = capsys
    erase = ("privacy", "erase", "--asker", "ann", "--tenant", "kiosk", "--vault-only", "--out")
    spool = EventSpool(StatePaths(settings).audit_events)
    with mounted(tmp_path / "disk", 1) as disk:
        disk.fill()
        assert "No space left" in command_line.run(*erase, str(disk.path / "certificate"), expected=1)
    assert (held(settings), spool.waiting(9)) == (1, [])
    command_line.run(*erase, str(tmp_path / "certificate"))
    [logged] = spool.waiting(9)
    assert logged.event is not None
    assert logged.event.act.digest == sha256((tmp_path / "certificate").read_bytes()).hexdigest()
    assert held(settings) == 0
