"""The servers that containers start: linked by nkeys, and closed to everybody without one."""

from __future__ import annotations

import asyncio
import json
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import nats
import nats.errors
import pytest

from tests.support.configured import SERVER, configure, connect, free_ports, moved_here, serving, state_of, until
from tests.support.paths import ROOT
from tidegate.brokers.jetstream.declare import connect_site_to_hub, declare_hub
from tidegate.brokers.servers.credentials import load_credential
from tidegate.services.fleet.endpoints import find_server
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.roles import roles_of
from tidegate.services.fleet.site_bundle import provision_disk
from tidegate.services.pipeline import WORKERS
from tidegate.services.settings import Settings
from tidegate.sync.trust.site_records import SiteRecords


@pytest.mark.anyio
async def test_a_hub_and_a_site_link_up_and_let_nobody_else_in(tmp_path: Path) -> None:
    await asyncio.to_thread(configure, tmp_path)
    hub_port, hub_monitor, leaf_port, site_port, site_monitor = free_ports(5)
    hub_conf = moved_here(tmp_path, "hub", hub_port, hub_monitor, leaf_port)
    site_conf = moved_here(tmp_path, "site1", site_port, site_monitor, leaf_port)
    async with serving(hub_conf, hub_monitor), serving(site_conf, site_monitor):
        await until(f"http://127.0.0.1:{hub_monitor}/leafz", lambda answer: answer.json()["leafnodes"] == 1)
        for port, seed in ((hub_port, None), (site_port, None), (site_port, "hub"), (hub_port, "site1")):
            with pytest.raises((nats.errors.Error, ConnectionError)):
                await connect(tmp_path, port, seed)
        with pytest.raises(ssl.SSLCertVerificationError):  # a client that was not told whom to believe
            await connect(tmp_path, site_port, "site1", ssl.create_default_context())
        hub = await connect(tmp_path, hub_port, "hub")
        site = await connect(tmp_path, site_port, "site1")
        stages = tuple(WORKERS.values())
        await declare_hub(hub, (), stages)
        await connect_site_to_hub(hub, site, "site1", stages)
        await site.jetstream().publish("escalations.site1.kiosk.r1", b"x")
        async with asyncio.timeout(10):
            while (await hub.jetstream().stream_info("ESCALATIONS")).state.messages == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await hub.close()
        await site.close()


@pytest.mark.parametrize(
    "name", ["site3/gateway", "site1/nobody", "site1", "../site1/gateway", "site1/../hub/operator"]
)
def test_what_is_no_key_is_not_exchanged_and_nothing_is(tmp_path: Path, name: str) -> None:
    configure(tmp_path)
    before = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}
    with pytest.raises(subprocess.CalledProcessError):
        configure(tmp_path, "--exchange", "site1/gateway", "--exchange", name)
    assert {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()} == before


def test_keys_are_kept_and_seen_by_their_owner_only(tmp_path: Path) -> None:
    configure(tmp_path)
    first = {path: path.read_bytes() for path in tmp_path.rglob("*.nk")}
    signed = {path: path.read_bytes() for path in (*tmp_path.rglob("*.pem"), *tmp_path.rglob("*.key"))}
    configure(tmp_path)

    assert {path.relative_to(tmp_path).as_posix() for path in first} == {
        *(f"{domain}/operator.nk" for domain in ("hub", "site1", "site2")),
        *(f"{domain}/{role.name}.nk" for domain in ("hub", "site1", "site2") for role in roles_of(domain)),
        *(f"hub-state/keys/{site}.leaf.nk" for site in ("site1", "site2")),
    }
    assert {path: path.read_bytes() for path in first} == first
    assert {path: path.read_bytes() for path in signed} == signed
    assert len(set(first.values())) == len(first)
    secret = [*first, *tmp_path.rglob("nats.conf"), *tmp_path.rglob("*.key"), *tmp_path.rglob("applications.conf")]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in secret)


@pytest.mark.parametrize("site", ["../x", "hub", "Site1", ""])
def test_a_name_that_is_no_site_s_is_refused_before_anything_is_written(tmp_path: Path, site: str) -> None:
    out = tmp_path / "out"
    command = [sys.executable, str(ROOT / "infra/containers/configure.py"), "--out", str(out), "--state", str(out)]
    command += ["site1", site]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 1
    assert shown.stderr.startswith(f"error: {site!r} is no name for a site\nhint: ")
    assert list(tmp_path.iterdir()) == []


def test_a_leaf_is_known_by_the_key_that_a_site_is_provisioned_with(tmp_path: Path) -> None:
    configure(tmp_path)
    disk = tmp_path / "disk"
    disk.mkdir()
    hub = Settings(site="hub", state_dir=str(state_of(tmp_path)))
    provision_disk(hub, "site1", disk)

    own = StatePaths(Settings(state_dir=str(disk))).leaf_seed("site1")
    assert json.dumps(own.read_text().strip()) in (tmp_path / "site1" / "nats.conf").read_text()
    assert load_credential(own).public in (tmp_path / "hub" / "nats.conf").read_text()
    records = SiteRecords(StatePaths(hub).site_records)
    records.store(msgspec.structs.replace(records.load("site1"), tenants=("kiosk",)))
    configure(tmp_path)
    served = (tmp_path / "hub" / "nats.conf").read_text()
    assert '"cloud.site1.verify.kiosk"' in served, "the tenants of a site that is provisioned, and no other's"
    assert '"cloud.site1.verify.>"' not in served
    assert '"cloud.site2.verify.>"' in served


def test_a_hub_on_another_machine_is_found_where_it_is(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "infra/containers/configure.py"), "--out", str(tmp_path)]
    subprocess.run([*command, "--state", str(tmp_path), "--hub", "hub.example.org", "site1"], check=True, timeout=30)

    assert "tls://hub.example.org:7422" in (tmp_path / "site1" / "nats.conf").read_text()


def test_the_accounts_of_applications_may_be_in_a_folder_of_their_own(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "infra/containers/configure.py"), "--out", str(tmp_path)]
    command += ["--applications", "/var/lib/applications/nats.conf", "--etc", "/etc/tidegate"]
    subprocess.run([*command, "--state", str(tmp_path), "site1"], check=True, timeout=30)

    assert 'include "../../var/lib/applications/nats.conf"' in (tmp_path / "site1" / "nats.conf").read_text()
    assert not list(tmp_path.rglob("applications.conf"))


def test_the_commands_find_every_server_by_what_was_written(tmp_path: Path) -> None:
    configure(tmp_path)
    settings = Settings(state_dir=str(tmp_path))

    found = {site: find_server(msgspec.structs.replace(settings, site=site)) for site in ("hub", "site1", "site2")}

    for site, server in found.items():
        assert server.url == f"tls://{site}-nats:4222"
        assert Path(server.tls_authority) == tmp_path / site / "ca.pem"
        assert Path(server.nkey_seed_file) == tmp_path / site / "operator.nk"


def test_a_fleet_that_was_written_by_a_relative_path_is_found_from_everywhere(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "infra/containers/configure.py"), "--out", "configured", "--state", "state"]
    subprocess.run([*command, "site1"], check=True, timeout=30, cwd=tmp_path)

    server = find_server(Settings(site="site1", state_dir=str(tmp_path / "configured")))
    assert Path(server.nkey_seed_file) == tmp_path / "configured" / "site1" / "operator.nk"


def test_a_hub_of_three_hosts_has_a_configuration_for_each_and_sites_know_all_of_them(tmp_path: Path) -> None:
    hosts = ["hub-a.example", "hub-b.example", "hub-c.example"]
    configure(tmp_path, "--hub", ",".join(hosts))
    password = (tmp_path / "hub" / "routes.key").read_text()
    assert stat.S_IMODE((tmp_path / "hub" / "routes.key").stat().st_mode) == 0o600
    for number in (1, 2, 3):
        path = tmp_path / "hub" / f"nats-{number}.conf"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        text = path.read_text()
        assert f'server_name: "hub-{number}"' in text
        assert all(f"nats-route://route:{password}@{host}:6222" in text for host in hosts)
        checked = subprocess.run([SERVER, "-t", "-c", path], capture_output=True, text=True, timeout=30, check=False)
        assert checked.returncode == 0, checked.stderr
    site = (tmp_path / "site1" / "nats.conf").read_text()
    assert all(f"tls://{host}:7422" in site for host in hosts)
    fleet = msgspec.json.decode((tmp_path / "fleet.json").read_bytes())
    assert fleet["hub"]["url"] == ",".join(f"tls://{host}:4222" for host in hosts)
    configure(tmp_path, "--hub", ",".join(hosts))
    assert (tmp_path / "hub" / "routes.key").read_text() == password


def test_a_hub_of_two_hosts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        configure(tmp_path, "--hub", "hub-a.example,hub-b.example")
    assert not (tmp_path / "hub").exists()
