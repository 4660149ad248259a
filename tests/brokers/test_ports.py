"""Ports that are kept while their server is down must not be lent to anybody's outgoing connection meanwhile."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

import pytest

from tidegate.brokers.servers import ports
from tidegate.brokers.servers.nats_server import Server
from tidegate.services.fleet.ports import keep_port

HOST = "127.0.0.1"


def lent_from() -> int:
    """The lowest port that this system lends to outgoing connections."""
    return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


@pytest.mark.anyio
async def test_no_port_of_a_server_or_a_gateway_is_one_that_the_system_lends(tmp_path: Path) -> None:
    async with Server("one", tmp_path / "one", admits_leaves=True):
        kept = json.loads((tmp_path / "one" / "ports.json").read_text())
    assert set(kept) == {"client", "leaf"}
    assert len({*kept.values()}) == 2
    chosen = [*kept.values(), keep_port(HOST, tmp_path / "gateway"), *(ports.choose_port(HOST) for _ in range(200))]
    assert min(chosen) >= ports.LOWEST
    assert max(chosen) < lent_from()


def test_a_port_that_is_listened_on_or_taken_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ports.choose_port(HOST)
    monkeypatch.setattr(random, "randrange", lambda *_: first)
    assert ports.choose_port(HOST) == first
    assert ports.choose_port(HOST, [first]) == 0
    with socket.create_server((HOST, first)):
        assert ports.choose_port(HOST) == 0


@pytest.mark.parametrize("port", [-1, 0, 65_536, 1 << 40])
def test_what_is_no_port_is_not_free(port: int) -> None:
    assert not ports.is_free(HOST, port)
