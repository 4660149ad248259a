"""Chooses the ports that a server keeps from one run to the next.

Promises none that the system may lend to an outgoing connection while the server is down. Next: nats_server.py.
"""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Collection
from pathlib import Path

LOWEST = 10_000
"""Below lie the ports of well-known services."""
HIGHEST = 65_535
_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_OUTGOING_FROM = 32_768
"""Where Linux begins to lend ports, unless it was told otherwise; other systems begin higher."""
_TRIES = 32


def choose_port(host: str, taken: Collection[int] = ()) -> int:
    """A free port of `host` below those of outgoing connections, none of `taken`; 0 where none is found.

    Raises `OSError` where `host` is no address of this machine.
    """
    try:
        end = min(int(_OUTGOING.read_text().split()[0]), _OUTGOING_FROM)
    except (OSError, ValueError, IndexError):  # another system
        end = _OUTGOING_FROM
    if end <= LOWEST:
        return 0
    tried = (random.randrange(LOWEST, end) for _ in range(_TRIES))
    return next((port for port in tried if port not in taken and is_free(host, port)), 0)


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now. Raises `OSError` where `host` is no address of this machine."""
    if not 0 < port <= HIGHEST:
        return False
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True
