"""Whatever a nats-server takes from other machines is encrypted, or the server is not kept up: leaf nodes carry what
sites escalate, and servers of a cluster all of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidegate.brokers.servers import conf
from tidegate.brokers.servers.kept_server import KeptServer
from tidegate.brokers.servers.monitoring import listeners_in
from tidegate.brokers.servers.ports import choose_port
from tidegate.services.fleet.certificates import CertificateAuthority

pytestmark = pytest.mark.anyio
HOST = "127.0.0.1"


def leafnodes(host: str, files: conf.TlsFiles | None) -> conf.Conf:
    hub = conf.hub("U" + "A" * 55, {}, leaf_tls=files)
    return {"leafnodes": {"listen": f"{host}:{choose_port(HOST)}", **hub["leafnodes"]}}


def websocket(host: str, files: conf.TlsFiles | None) -> conf.Conf:
    if files is None:
        return {"websocket": {"listen": f"{host}:{choose_port(HOST)}", "no_tls": True}}
    tls = {name: value for name, value in conf.listener(host, 0, files)["tls"].items() if name != "handshake_first"}
    return {"websocket": {"listen": f"{host}:{choose_port(HOST)}", "tls": tls}}


def mqtt(host: str, _: conf.TlsFiles | None) -> conf.Conf:
    return {"mqtt": {"listen": f"{host}:{choose_port(HOST)}"}}


@pytest.mark.parametrize(
    ("listener", "host", "is_encrypted", "who"),
    [
        (leafnodes, "0.0.0.0", False, "leaf nodes"),
        (leafnodes, "0.0.0.0", True, ""),
        (leafnodes, HOST, False, ""),
        (websocket, "0.0.0.0", False, "WebSocket clients"),
        (websocket, "0.0.0.0", True, ""),
        (mqtt, "0.0.0.0", False, "MQTT clients"),
        (mqtt, HOST, False, ""),
    ],
)
async def test_a_server_that_takes_others_in_clear_is_not_kept_up_whoever_they_are(
    tmp_path: Path,
    listener: Callable[[str, conf.TlsFiles | None], conf.Conf],
    host: str,
    is_encrypted: bool,
    who: str,
) -> None:
    files = CertificateAuthority(tmp_path / "authority").issue(tmp_path / "own", ["hub"]) if is_encrypted else None
    full = {**conf.plain("hub"), "server_name": "hub", "listen": f"{HOST}:{choose_port(HOST)}", "http": f"{HOST}:-1"}
    full |= listener(host, files)
    full["jetstream"] = {"store_dir": str(tmp_path / "store"), **full["jetstream"]}
    file = tmp_path / "nats.conf"
    file.write_text(conf.render(full))
    kept = KeptServer("hub", file)
    try:
        with pytest.raises(conf.ClearListenerError, match=who) if who else contextlib.nullcontext():
            await kept.start()
        assert (kept.pid is None) == bool(who)
    finally:
        kept.kill()


@pytest.mark.parametrize(
    ("part", "is_encrypted"),
    [
        ({"cluster": {"name": "hub", "addr": "0.0.0.0", "cluster_port": 6222, "auth_timeout": 5}}, False),
        ({"cluster": {"addr": "0.0.0.0", "cluster_port": 6222, "tls_required": True, "tls_verify": True}}, True),
        ({"gateway": {"name": "hub", "host": "0.0.0.0", "port": 7222}}, False),
        ({"gateway": {"name": "hub", "host": "0.0.0.0", "port": 7222, "tls_required": True}}, True),
    ],
)
def test_the_servers_of_a_cluster_are_among_them(part: dict[str, Any], is_encrypted: bool) -> None:
    """As nats-server 2.15 says it of itself."""
    clients, others = listeners_in({"host": HOST, "leaf": {"auth_timeout": 2}, "websocket": {}, **part})
    assert (clients.host, clients.is_encrypted) == (HOST, False)
    assert (others.host, others.is_encrypted) == ("0.0.0.0", is_encrypted)
