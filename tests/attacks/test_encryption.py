"""What goes between machines is encrypted, and neither end talks to whom the fleet's authority does not vouch for."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.support.gateway_site import Site, site
from tests.support.nats_fleet import until
from tests.support.paths import ROOT
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.credentials import load_credential
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.certificates import CertificateAuthority, trust_only
from tidegate.services.gateway.composition import open_callers
from tidegate.services.gateway.http.server import TlsSettingsError, serve_http
from tidegate.services.gateway.settings import TlsSettings

pytestmark = pytest.mark.anyio


@dataclass
class Hub:
    """A hub whose leaves show certificates, and what its sites have."""

    server: Server
    path: Path
    authority: CertificateAuthority

    def site(self, tls: conf.TlsFiles | None, **remote: Any) -> Server:
        """Its site `site1` with these files."""
        seed = load_credential(self.path / "leaf.nk").seed()
        url = self.server.leaf_url.replace("nats-leaf", "tls" if tls else "nats-leaf")
        settings = conf.site("site1", load_credential(self.path / "operator.nk").public, url, seed, leaf_tls=tls)
        settings["leafnodes"]["remotes"][0].update(remote)
        return Server("site1", self.path / "site1", settings)

    async def is_linked(self) -> bool:
        return bool((await asyncio.to_thread(self.server.monitor, "/leafz")).get("leafs"))


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    authority = CertificateAuthority(tmp_path / "tls")
    files = authority.issue(tmp_path / "hub-tls", [HUB])
    operator, leaf = load_credential(tmp_path / "operator.nk"), load_credential(tmp_path / "leaf.nk")
    settings = conf.hub(operator.public, {"site1": leaf.public}, leaf_tls=files)
    async with Server(HUB, tmp_path / HUB, settings, admits_leaves=True) as server:
        yield Hub(server, tmp_path, authority)


async def test_a_site_with_a_certificate_of_the_authority_links(hub: Hub) -> None:
    async with hub.site(hub.authority.issue(hub.path / "site1-tls", ["site1"])):
        await until(hub.is_linked)


def no_certificate(_: Hub) -> conf.TlsFiles | None:
    return None


def one_of_another_authority(hub: Hub) -> conf.TlsFiles:
    """Which nevertheless believes the hub."""
    other = CertificateAuthority(hub.path / "other").issue(hub.path / "other-tls", ["site1"])
    return conf.TlsFiles(other.certificate, other.key, hub.authority.certificate_file)


def a_site_that_believes_another(hub: Hub) -> conf.TlsFiles:
    own = hub.authority.issue(hub.path / "site1-tls", ["site1"])
    return conf.TlsFiles(own.certificate, own.key, CertificateAuthority(hub.path / "other").certificate_file)


@pytest.mark.parametrize("shows", [no_certificate, one_of_another_authority, a_site_that_believes_another])
async def test_no_leaf_links_without_a_certificate_whatever_its_nkey(
    hub: Hub, shows: Callable[[Hub], conf.TlsFiles | None]
) -> None:
    async with hub.site(shows(hub)):
        for _ in range(20):
            await asyncio.sleep(0.05)  # it tries ten times a second
            assert not await hub.is_linked()


@pytest.fixture
async def encrypted(tmp_path: Path) -> AsyncIterator[tuple[Site, str]]:
    files = CertificateAuthority(tmp_path / "tls").issue(tmp_path / "site-tls", ["site1.example"])
    async with site(tmp_path / "site") as running:
        tls = TlsSettings(certificate=str(files.certificate), key=str(files.key))
        running.ingress.settings = with_tls(running, tls)
        async with serve_http(running.ingress, open_callers(running.settings)) as address:
            assert address.certificate == str(files.certificate)
            yield running, address.url


def with_tls(running: Site, tls: TlsSettings) -> Any:
    gateway = msgspec.structs.replace(running.settings.gateway, tls=tls)
    return msgspec.structs.replace(running.settings, gateway=gateway)


async def test_http_is_https_where_a_certificate_is_set_and_nothing_else(
    encrypted: tuple[Site, str], tmp_path: Path
) -> None:
    _, url = encrypted
    assert url.startswith("https://127.0.0.1:")
    believes = ssl.create_default_context(cafile=str(tmp_path / "tls" / "ca.pem"))
    for verify in (believes, trust_only(str(tmp_path / "site-tls" / "tls.pem"))):
        async with httpx.AsyncClient(verify=verify, trust_env=False) as http:
            assert (await http.get(f"{url}/healthz")).is_success
    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await http.get(f"{url}/healthz")
        with pytest.raises(httpx.TransportError):
            await http.get(f"{url.replace('https', 'http')}/healthz")


async def test_the_image_s_health_check_asks_as_the_gateway_listens(
    encrypted: tuple[Site, str], tmp_path: Path
) -> None:
    _, url = encrypted
    other = CertificateAuthority(tmp_path / "tls").issue(tmp_path / "other-tls", ["site1.example"])
    for certificate, code in ((tmp_path / "site-tls" / "tls.pem", 0), (other.certificate, 1), ("", 1)):
        environment = {
            "TIDEGATE_GATEWAY__PORT": url.rpartition(":")[2],
            "TIDEGATE_GATEWAY__TLS__CERTIFICATE": str(certificate),
        }
        command = [sys.executable, str(ROOT / "infra/containers/gateway_health.py")]
        done = await asyncio.to_thread(subprocess.run, command, env=environment, check=False, stderr=subprocess.DEVNULL)
        assert done.returncode == code


@pytest.mark.parametrize("wrong", ["certificate", "key", "other"])
async def test_a_certificate_that_is_none_is_named_before_anything_listens(tmp_path: Path, wrong: str) -> None:
    authority = CertificateAuthority(tmp_path / "tls")
    files, other = (authority.issue(tmp_path / name, ["site1"]) for name in ("a", "b"))
    tls = {
        "certificate": TlsSettings(certificate=str(tmp_path / "none.pem"), key=str(files.key)),
        "key": TlsSettings(certificate=str(files.certificate)),
        "other": TlsSettings(certificate=str(files.certificate), key=str(other.key)),
    }
    async with site(tmp_path / "site") as running:
        running.ingress.settings = with_tls(running, tls[wrong])
        with pytest.raises(TlsSettingsError, match="no certificate and its key"):
            async with serve_http(running.ingress, open_callers(running.settings)):
                pass
