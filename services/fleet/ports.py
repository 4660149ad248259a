"""Listens on addresses, and keeps a port from one run to the next: clients and bookmarks find a site where it was."""

from __future__ import annotations

import socket
from pathlib import Path

from tidegate.brokers.servers.ports import choose_port, is_free
from tidegate.schemas import TidegateError
from tidegate.services.fleet.endpoints import write_state


class AddressUnavailableError(TidegateError, OSError):
    """An address cannot be listened on."""

    hint = "choose another port (`gateway.port`; 0 lets the system choose) or host (`gateway.host`)"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `AddressUnavailableError`, which says which address was wanted."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AddressUnavailableError(f"cannot listen on {host}:{port}: {reason}") from error
    # Connections inherit it. asyncio sets it only on sockets that name their protocol, which these do not: a reply in
    # two writes took 40 ms more there, for the second waited for the acknowledgement of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def keep_port(host: str, memory: Path) -> int:
    """The port in the file `memory` where it is free at `host`, else another, which it keeps there.

    Raises `AddressUnavailableError` where `host` is no address of this machine.
    """
    try:
        remembered = int(memory.read_text())
    except (OSError, ValueError):  # never written, or by nobody of ours
        remembered = 0
    try:
        port = remembered if is_free(host, remembered) else choose_port(host)
    except OSError as error:
        raise AddressUnavailableError(f"cannot listen on {host}: {error.strerror or error}") from error
    if not port:
        with listen(host, 0) as probe:
            port = int(probe.getsockname()[1])
    if port != remembered:
        write_state(memory, port)
    return port
