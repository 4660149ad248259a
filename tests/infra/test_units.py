"""The systemd units: as closed as can be, tried again for ever, and every file that they name is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tidegate.brokers.process.config import load
from tidegate.services.gateway.settings import GatewaySettings
from tidegate.services.settings import Settings

FOLDER = ROOT / "infra" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
MOST_EXPOSED = 15
"""Tenths, by `systemd-analyze security`. The units have 11: 5 for having the network, 3 for talking to it over IP, and
the rest for what docs/deployment.md names."""
FAMILIES = "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX"
WRITTEN_BY_HAND = "site.env"
each_unit = pytest.mark.parametrize("path", UNITS, ids=[path.stem for path in UNITS])


def settings_of(path: Path, section: str) -> list[str]:
    """The lines of one section."""
    text = path.read_text().partition(f"[{section}]\n")[2].partition("\n[")[0]
    return [line for line in text.splitlines() if "=" in line and not line.startswith("#")]


def environment_of(path: Path) -> dict[str, str]:
    return dict(re.findall(r"\b(TIDEGATE_[A-Z_]+)=(\S+)", path.read_text()))


def confinement_of(path: Path) -> list[str]:
    """What a unit takes from its processes: its last paragraph."""
    lines = settings_of(path, "Service")
    return lines[lines.index("NoNewPrivileges=yes") :]


def test_all_are_confined_alike_and_only_nats_server_may_ask_for_the_addresses_of_the_machine() -> None:
    alike = {tuple(line.removesuffix(" AF_NETLINK") for line in confinement_of(path)) for path in UNITS}

    assert len(alike) == 1
    for path in UNITS:
        wanted = f"{FAMILIES} AF_NETLINK" if path.stem == "tidegate-nats" else FAMILIES
        assert wanted in confinement_of(path), "without it nats-server tells its peers and clients no address"


@each_unit
def test_one_that_ends_at_once_is_tried_again_for_ever(path: Path) -> None:
    """systemd gives up by itself after five starts in ten seconds: with `RestartSec=1` a worker whose NATS server is
    away for a minute would stay down until somebody comes."""
    assert "Restart=always" in settings_of(path, "Service")
    assert "StartLimitIntervalSec=0" in settings_of(path, "Unit")


@each_unit
def test_a_stop_is_asked_of_the_process_that_has_the_others(path: Path) -> None:
    """A drain would lose the processes that it waits for: systemd signals all of a unit by default."""
    assert {"KillMode=mixed", "KillSignal=SIGTERM"} <= set(settings_of(path, "Service"))


def test_a_site_takes_clients_of_other_machines_and_of_none_in_clear() -> None:
    settings = load(Settings, None, environment_of(FOLDER / "tidegate-site.service")).settings

    assert settings.gateway.host == "0.0.0.0"
    assert settings.gateway.host != GatewaySettings().host, "which is the loopback"
    assert settings.gateway.tls.certificate
    assert settings.gateway.tls.key


@each_unit
def test_every_file_that_a_unit_names_is_one_that_configure_writes_and_the_docs_have_carried_there(
    path: Path, tmp_path: Path
) -> None:
    script = ROOT / "infra/containers/configure.py"
    command = [sys.executable, str(script), "--out", str(tmp_path), "--state", str(tmp_path / "state"), "site1"]
    subprocess.run(command, check=True, timeout=30, cwd=ROOT)
    domain = "hub" if path.stem == "tidegate-hub" else "site1"
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
    named = set(re.findall(r"/etc/tidegate/([\w.-]+)", text))
    docs = (ROOT / "docs/deployment.md").read_text()

    assert WRITTEN_BY_HAND in named
    for name in named - {WRITTEN_BY_HAND}:
        assert (tmp_path / domain / name).is_file(), name
        assert f"`{name}`" in docs, name


@each_unit
def test_what_a_unit_writes_is_below_what_systemd_makes_for_it(path: Path) -> None:
    lines = settings_of(path, "Service")
    [made] = [line.partition("=")[2].split() for line in lines if line.startswith("StateDirectory=")]

    assert environment_of(path)["TIDEGATE_STATE_DIR"].removeprefix("/var/lib/") in made
    assert ("nats" in made) == (path.stem == "tidegate-nats"), "nobody else touches the streams"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_units_and_finds_them_closed(tmp_path: Path) -> None:
    there = tmp_path / "venv" / "tidegate"
    there.parent.mkdir()
    there.symlink_to(sys.executable)
    for path in UNITS:
        text = path.read_text().replace("/opt/tidegate/venv/bin/tidegate", str(there))
        (tmp_path / path.name).write_text(text)
    units = [str(tmp_path / path.name) for path in UNITS]
    taken = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False, timeout=60
    )
    complaints = [line for line in taken.stderr.splitlines() if "tidegate" in line]
    assert (taken.returncode, complaints) == (0, []), taken.stderr

    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager"]
    for unit in units:
        judged = subprocess.run([*command, unit], capture_output=True, text=True, check=False, timeout=60)
        assert judged.returncode == 0, judged.stdout
