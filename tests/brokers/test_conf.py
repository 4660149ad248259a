"""The templates for production have what the code has, and a real pair of servers links with them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import http.client
import ipaddress
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.nats_fleet import STAGES, until
from tests.support.paths import ROOT
from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.api import connect
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.credentials import load_credential
from tidegate.brokers.servers.fleet import open_fleet
from tidegate.brokers.service import MicroService
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas.subjects import HUB

pytestmark = pytest.mark.anyio

TEMPLATES = ROOT / "infra" / "nats"
BINARY = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or "nats-server"


def certificate(
    directory: Path, name: str, ca: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None
) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, signed by `ca`, or a `ca` of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    issuer, signer = ca or (subject, key)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca is None, path_length=None), critical=True)
        .add_extension(address, critical=False)
        .sign(signer, hashes.SHA256())
    )
    cert_file, key_file = directory / f"{name}.pem", directory / f"{name}.key"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return cert_file, key_file


def environments(directory: Path, leaf_port: int) -> dict[str, dict[str, str]]:
    """What the two templates expect to find."""
    ca_cert, ca_key = certificate(directory, "ca", None)
    ca_private = serialization.load_pem_private_key(ca_key.read_bytes(), None)
    assert isinstance(ca_private, ec.EllipticCurvePrivateKey)
    ca = (x509.load_pem_x509_certificate(ca_cert.read_bytes()).subject, ca_private)
    leaf = load_credential(directory / "leaf.nk")
    found = {}
    for domain in (HUB, "site1"):
        cert, key = certificate(directory, domain, ca)
        found[domain] = {
            **os.environ,
            "TLS_CERT": str(cert),
            "TLS_KEY": str(key),
            "TLS_CA": str(ca_cert),
            "STORE_DIR": str(directory / domain),
            "HUB_NKEY": load_credential(directory / "hub.nk").public,
            "OPERATOR_NKEY": load_credential(directory / "site1.nk").public,
            "SYSTEM_NKEY": load_credential(directory / "system.nk").public,
            "SITE1_NKEY": leaf.public,
            "LEAF_SEED": leaf.seed(),
            "HUB_LEAF_URL": f"tls://127.0.0.1:{leaf_port}",
        }
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(template: str, ports: dict[int, int], directory: Path, environment: dict[str, str]) -> Iterator[None]:
    """The template as it stands, but for the ports."""
    text = (TEMPLATES / template).read_text()
    for port, replacement in ports.items():
        text = re.sub(rf'"[0-9.]+:{port}"', f'"127.0.0.1:{replacement}"', text)
    path = directory / template
    path.write_text(text)
    with (directory / f"{template}.log").open("wb") as log:
        process = subprocess.Popen([BINARY, "-c", str(path)], env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_the_hubs_template_gives_a_leaf_exactly_what_the_code_gives_it() -> None:
    text = re.sub(r"#.*", "", (TEMPLATES / "hub.conf").read_text())
    listed = {
        verb: re.findall(r'"([^"]+)"', allowed)
        for verb, allowed in re.findall(r"(publish|subscribe) \{\s+allow: \[(.*?)\]", text, re.DOTALL)
    }
    assert listed == {verb: rules["allow"] for verb, rules in conf.leaf_permissions("site1").items()}


def test_the_sites_template_denies_exactly_what_the_code_denies() -> None:
    text = (TEMPLATES / "site.conf").read_text()
    (remote,) = conf.site("site1", "U", "nats-leaf://x", "SU")["leafnodes"]["remotes"]
    for verb in ("deny_exports", "deny_imports"):
        (listed,) = re.findall(rf"{verb}: \[(.*?)\]", text, re.DOTALL)
        assert re.findall(r'"([^"]+)"', listed) == remote[verb]


def test_the_templates_have_the_settings_that_every_server_has() -> None:
    everywhere = {"ping_interval": '"5s"', "ping_max": "2", "max_payload": "1MB", "sync_interval": "always"}
    for template in ("hub.conf", "site.conf"):
        text = (TEMPLATES / template).read_text()
        for key, value in everywhere.items():
            assert re.search(rf"^\s*{key}: {re.escape(value)}\b|^\s*{key}: {re.escape(value)}$", text, re.MULTILINE)
        assert "js_ack_fc_v2: false" in text


def test_no_wildcard_stands_inside_a_jetstream_subject_that_a_leaf_may_use() -> None:
    for rules in conf.leaf_permissions("site1").values():
        assert not [subject for subject in rules["allow"] if ".API." in subject and ("*" in subject or ">" in subject)]
        assert "_INBOX.>" not in rules["allow"]


async def test_a_site_links_to_the_hub_over_mutual_tls_with_the_templates_as_they_stand(tmp_path: Path) -> None:
    leaf, monitor, site = free_port(), free_port(), free_port()
    environment = environments(tmp_path, leaf)
    with (
        running("hub.conf", {4222: -1, 7422: leaf, 8222: monitor}, tmp_path, environment[HUB]),
        running("site.conf", {4222: site, 8222: -1}, tmp_path, environment["site1"]),
    ):

        async def is_linked() -> bool:
            return await asyncio.to_thread(leaves, monitor) == ["site1"]

        await until(is_linked)
        url = f"nats://127.0.0.1:{site}"
        async with connect(NatsSettings(url=url, nkey_seed_file=str(tmp_path / "site1.nk")), "site1") as nc:
            await declare_site(nc, "site1", STAGES)
        authorised = NatsSettings(url=url, nkey_seed_file=str(tmp_path / "site1.nk"))
        async with JetStreamBus.open(authorised, "site1") as bus:
            await bus.serve(MicroService("tidegate", "0.1.0", "", ()))
            assert json.loads(await bus.request("$SRV.PING", b"", timeout_s=5.0))["name"] == "tidegate"
        with pytest.raises(UnreachableError, match="Authorization Violation"):
            async with connect(NatsSettings(url=url), "site1"):
                pass


def leaves(port: int) -> list[str]:
    """Which sites the hub's monitor names, none while it does not listen."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/leafz")
        return [leaf["name"] for leaf in json.loads(connection.getresponse().read()).get("leafs") or ()]
    except ConnectionError:
        return []
    finally:
        connection.close()


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
@example("Städte und Orte")
@example('a\\b "c" \x07 $HOME')
@settings(max_examples=15, deadline=None)
def test_the_server_reads_whatever_a_value_holds(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "nats.conf"
        users = [{"user": f"{text}x", "password": f"{text}y"}]
        file.write_text(conf.render({"port": -1, "authorization": {"users": users}}), "utf-8")
        checked = subprocess.run([BINARY, "-t", "-c", str(file)], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr


async def test_a_server_keeps_its_streams_in_a_folder_of_any_name(tmp_path: Path) -> None:
    state = tmp_path / 'Städte und "Orte"'
    async with open_fleet(state, []) as fleet, connect(fleet.hub.nats, HUB) as client:
        await client.jetstream().add_stream(name="KEPT", subjects=["kept"])
    assert os.listdir(tmp_path) == [state.name]
    assert len(list(state.glob("hub/nats/**/KEPT"))) == 1
