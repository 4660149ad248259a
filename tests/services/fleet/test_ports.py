"""A port that was chosen is chosen again, as long as nobody else has it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tidegate.services.fleet.ports import AddressUnavailableError, keep_port, listen


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_the_port_of_the_last_run_is_kept_until_it_is_taken(tmp_path: Path, host: str) -> None:
    memory = tmp_path / "site1" / "port"
    first = keep_port(host, memory)
    assert keep_port(host, memory) == first
    with listen(host, first):
        second = keep_port(host, memory)
        assert second != first
    assert keep_port(host, memory) == second


@pytest.mark.parametrize("content", [b"", b"many", b"70000", b"-1", b"\xff"])
def test_what_is_no_port_is_forgotten(tmp_path: Path, content: bytes) -> None:
    memory = tmp_path / "port"
    memory.write_bytes(content)
    port = keep_port("127.0.0.1", memory)
    assert memory.read_text() == str(port)
    assert 0 < port < 65536


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("no-such-host.invalid", 0), ("127.0.0.1", 70_000)])
def test_an_address_that_cannot_be_had_is_named_with_a_hint(tmp_path: Path, host: str, port: int) -> None:
    with pytest.raises(AddressUnavailableError, match=f"cannot listen on {host}:{port}: .") as caught:
        listen(host, port)
    assert "gateway.port" in caught.value.hint
    if not port:
        with pytest.raises(AddressUnavailableError):
            keep_port(host, tmp_path / "port")


def test_what_is_written_to_a_connection_is_sent_at_once() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()[:2]):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
