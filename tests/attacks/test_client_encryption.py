"""Clients of a NATS server are encrypted where others could read along, and talk to nobody whom the fleet's authority
does not vouch for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.foreign_certificates import DAY, sign
from tests.support.gateway_site import site
from tests.support.nats_fleet import until
from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.api import connect
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.connection import Link
from tidegate.brokers.jetstream.encryption import AuthorityFileError, UntrustedServerError
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.kept_server import KeptServer
from tidegate.brokers.servers.nats_server import HOST, Server
from tidegate.brokers.servers.ports import choose_port
from tidegate.brokers.settings import NatsSettings
from tidegate.services.fleet.certificates import CertificateAuthority
from tidegate.services.gateway.composition import open_callers
from tidegate.services.gateway.http.server import TlsSettingsError, check_encrypted, serve_http
from tidegate.services.gateway.settings import GatewaySettings, TlsSettings

pytestmark = pytest.mark.anyio
with_both_loops = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"use_uvloop": use}) for use in (False, True)], ids=["asyncio", "uvloop"]
)
OPENERS: dict[str, Any] = {"bus": JetStreamBus.open, "client": connect}


def encrypted(directory: Path, files: conf.TlsFiles | None) -> Server:
    """A server as `configure.py` has one, but for its address and its users."""
    tls = conf.listener(HOST, 0, files).get("tls")
    return Server("site1", directory / "nats", {**conf.plain("site1"), **({"tls": tls} if tls else {})})


def of(server: Server, authority: Path | str) -> NatsSettings:
    return NatsSettings(url=server.url.replace("nats://", "tls://"), tls_authority=str(authority))


def good(path: Path, name: str = "good") -> conf.TlsFiles:
    return CertificateAuthority(path / "tls").issue(path / name, ["site1"])


@with_both_loops
async def test_a_client_that_believes_the_authority_is_served(tmp_path: Path) -> None:
    files = good(tmp_path)
    async with encrypted(tmp_path, files) as server:
        async with connect(of(server, files.authority), "site1") as client:
            assert (await client.jetstream().account_info()).memory == 0
        async with Link.open(of(server, files.authority), "_INBOX_site1") as link:
            heard = asyncio.Event()

            async def hear(_: Any) -> None:
                heard.set()

            await link.subscribe("x", hear)
            await link.send("x")
            async with asyncio.timeout(5):
                await heard.wait()


def expired(path: Path) -> tuple[conf.TlsFiles, str]:
    authority = CertificateAuthority(path / "tls").certificate_file
    return sign(authority.parent, path / "bad", HOST, -DAY), str(authority)


def of_another_name(path: Path) -> tuple[conf.TlsFiles, str]:
    authority = CertificateAuthority(path / "tls").certificate_file
    return sign(authority.parent, path / "bad", "site2-nats"), str(authority)


def of_another_authority(path: Path) -> tuple[conf.TlsFiles, str]:
    return good(path), str(CertificateAuthority(path / "other").certificate_file)


def unknown_to_the_system(path: Path) -> tuple[conf.TlsFiles, str]:
    return good(path), ""


def in_clear(path: Path) -> tuple[None, str]:
    return None, str(good(path).authority)


CAUSES: dict[Callable[[Path], tuple[conf.TlsFiles | None, str]], str] = {
    expired: "certificate has expired",
    of_another_name: "(Hostname|IP address) mismatch",
    of_another_authority: "certificate in certificate chain|local issuer|verify the first|unable to get|signature",
    unknown_to_the_system: "certificate in certificate chain|local issuer",
    in_clear: "does not speak TLS",
}


@pytest.mark.parametrize("opener", OPENERS.values(), ids=OPENERS)
@pytest.mark.parametrize(("show", "cause"), CAUSES.items())
async def test_a_server_that_nobody_vouches_for_is_refused_at_once_and_in_words(
    tmp_path: Path, opener: Any, show: Callable[[Path], tuple[conf.TlsFiles | None, str]], cause: str
) -> None:
    files, authority = show(tmp_path)
    async with encrypted(tmp_path, files) as server:
        with pytest.raises(UntrustedServerError, match=cause) as refused:
            async with asyncio.timeout(5), opener(of(server, authority), "site1"):
                pass
    assert server.url.partition("//")[2] in str(refused.value)
    assert "nats.tls_authority" in refused.value.hint


async def test_a_client_that_speaks_in_clear_is_told_nothing_but_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.brokers.jetstream.connection.OPEN_TIMEOUT_S", 0.5)
    async with encrypted(tmp_path, good(tmp_path)) as server:
        reader, writer = await asyncio.open_connection(*server.url.removeprefix("nats://").split(":"))
        writer.write(b"CONNECT {}\r\nPING\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"INFO" not in await reader.read(4096)
        writer.close()
        with pytest.raises(UnreachableError) as refused:
            async with JetStreamBus.open(NatsSettings(url=server.url), "site1"):
                pass
    assert "tls://" in refused.value.hint


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\xff\xfe"])
async def test_a_file_that_is_no_authority_is_named_before_anything_is_sent(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    for opener in OPENERS.values():
        with pytest.raises(AuthorityFileError, match=r"ca\.pem") as refused:
            async with opener(NatsSettings(url="tls://127.0.0.1:1", tls_authority=str(file)), "site1"):
                pass
        assert "nats.tls_authority" in refused.value.hint


@contextlib.asynccontextmanager
async def in_between(heard: bytearray) -> AsyncIterator[str]:
    """Who answers in a server's place, in clear, and asks for no encryption."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"X","version":"2.15.1","max_payload":1048576,"auth_required":true}\r\n')
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                heard.extend(data)
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    try:
        yield f"{HOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_nobody_in_between_has_a_client_go_on_in_clear(tmp_path: Path, scheme: str) -> None:
    heard = bytearray()
    async with in_between(heard) as address:
        settings = NatsSettings(url=f"{scheme}://{address}", tls_authority=str(good(tmp_path).authority))
        for opener in OPENERS.values():
            with pytest.raises(UntrustedServerError):
                async with asyncio.timeout(5), opener(settings, "site1"):
                    pass
    assert b"CONNECT" not in heard
    assert bytes(heard[:1]) in (b"", b"\x16"), "what it hears is the beginning of a handshake, or nothing"


@with_both_loops
async def test_a_server_that_comes_back_as_another_is_not_spoken_to_and_reported(tmp_path: Path) -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context.get("exception")))
    files, (ended, _) = good(tmp_path), expired(tmp_path)
    server = encrypted(tmp_path, files)
    async with server, Link.open(of(server, files.authority), "_INBOX_site1") as link:

        async def is_up() -> bool:
            return link.is_up

        async def is_reported() -> bool:
            return any("expired" in str(error) for error in reported)

        await asyncio.to_thread(server.kill)
        server.settings = {**server.settings, "tls": conf.listener(HOST, 0, ended)["tls"]}
        await server.start()
        await until(is_reported)
        assert not link.is_up
        await asyncio.to_thread(server.kill)
        server.settings = {**server.settings, "tls": conf.listener(HOST, 0, files)["tls"]}
        await server.start()
        await until(is_up)


@given(st.ip_addresses().map(str) | st.sampled_from(["", "0.0.0.0", "::", "localhost", "site1", "127.0.0.1.example"]))
def test_only_this_machine_s_clients_are_taken_in_clear(host: str) -> None:
    """By a NATS server and by the gateway alike."""
    is_own = host in ("localhost", "::1") or (host.startswith("127.") and "example" not in host)
    files = conf.TlsFiles(Path("tls.pem"), Path("tls.key"), Path("ca.pem"))
    assert conf.listener(host, 1, files)["tls"]["cert_file"] == "tls.pem"
    check_encrypted(GatewaySettings(host=host, tls=TlsSettings(certificate="tls.pem", key="tls.key")))
    check_encrypted(GatewaySettings(host=host, tls=TlsSettings(behind_proxy=True)))
    for check, fault in (
        (lambda: conf.listener(host, 1), conf.ClearListenerError),
        (lambda: check_encrypted(GatewaySettings(host=host)), TlsSettingsError),
    ):
        with contextlib.nullcontext() if is_own else pytest.raises(fault, match="without encryption"):
            check()


@pytest.mark.parametrize("is_encrypted", [False, True])
async def test_a_server_whose_own_file_takes_others_in_clear_is_not_kept_up(tmp_path: Path, is_encrypted: bool) -> None:
    full = {**conf.plain("site1"), "listen": f"0.0.0.0:{choose_port(HOST, ())}", "http": f"{HOST}:-1"}
    full["jetstream"] = {"store_dir": str(tmp_path / "store"), **full["jetstream"]}
    if is_encrypted:
        full["tls"] = conf.listener(HOST, 0, good(tmp_path))["tls"]
    file = tmp_path / "nats.conf"
    file.write_text(conf.render(full))
    kept = KeptServer("site1", file)
    try:
        if is_encrypted:
            await kept.start()
        else:
            with pytest.raises(conf.ClearListenerError, match=r"0\.0\.0\.0") as refused:
                await kept.start()
            assert "tls { }" in refused.value.hint
        assert (kept.pid is not None) == is_encrypted
    finally:
        kept.kill()


async def test_a_gateway_serves_others_encrypted_or_not_at_all(tmp_path: Path) -> None:
    async with site(tmp_path) as running:
        gateway = msgspec.structs.replace(running.settings.gateway, host="0.0.0.0")
        running.ingress.settings = msgspec.structs.replace(running.settings, gateway=gateway)
        with pytest.raises(TlsSettingsError, match=r"0\.0\.0\.0") as refused:
            async with serve_http(running.ingress, open_callers(running.settings)):
                pass
    assert "gateway.tls" in refused.value.hint
