"""Which connections may stay open: those with a request in work are bounded, those that say nothing make room.

A rule without I/O, so that silent clients cannot keep another one from being answered; next: protocol.py."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable, Hashable

import msgspec

from tidegate.services.gateway.settings import GatewayLimits

RESERVED_FILES = 256
"""What a worker needs beside its connections: indices, vault, logs, its own connection to the server."""


def fit_to_files(limits: GatewayLimits, open_files: int) -> GatewayLimits:
    """The limits, made smaller in proportion where a process that may have so many files open could not keep them: a
    server without a file left takes no connection at all. -1: any number."""
    wanted, room = limits.max_connections + limits.max_silent_connections, open_files - RESERVED_FILES
    if open_files == -1 or wanted <= room:
        return limits
    connections = max(1, room * limits.max_connections // wanted)
    silent = max(1, room * limits.max_silent_connections // wanted)
    return msgspec.structs.replace(limits, max_connections=connections, max_silent_connections=silent)


def peer_of(address: str) -> str:
    """Whose connection counts as whose: that of an IPv4 address, or of an IPv6 network of 64 bits, which is the least
    that anybody is given, with more addresses than there are connections."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # no network at all, as with a socket of this machine
        return address
    if isinstance(known, ipaddress.IPv4Address):
        return address
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.ip_network((known, 64), strict=False))


class _Silent(msgspec.Struct, frozen=True):
    """A connection that nothing is known of but its address, and how it is closed."""

    peer: str
    close: Callable[[], None]


class ConnectionTable:
    """The open connections of a server by what they do: silent, or at work. A connection is any key."""

    def __init__(self, limits: GatewayLimits) -> None:
        self._limits = limits
        self._silent: dict[Hashable, _Silent] = {}  # in the order in which they fell silent
        self._silent_by_peer: Counter[str] = Counter()
        self._working: dict[Hashable, str] = {}
        self._working_by_peer: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._silent) + len(self._working)

    def fall_silent(self, connection: Hashable, peer: str, close: Callable[[], None]) -> None:
        """It is new, or its request is over. Where there are too many of these, `close` of another one is called: of
        the address with most silent connections, the one that is silent longest."""
        self.forget(connection)
        self._silent[connection] = _Silent(peer, close)
        self._silent_by_peer[peer] += 1
        if len(self._silent) > self._limits.max_silent_connections:
            crowded = max(self._silent_by_peer, key=self._silent_by_peer.__getitem__)
            oldest = next(key for key, each in self._silent.items() if each.peer == crowded)
            close_oldest = self._silent[oldest].close
            self.forget(oldest)
            close_oldest()

    def begin_work(self, connection: Hashable, peer: str) -> bool:
        """A whole head has come. False where no more may be at work, in all or of this address: nothing changes."""
        if connection in self._working:  # the next of several requests that were sent at once
            return True
        if len(self._working) >= self._limits.max_connections:
            return False
        if self._working_by_peer[peer] >= self._limits.max_connections_per_peer:
            return False
        self.forget(connection)
        self._working[connection] = peer
        self._working_by_peer[peer] += 1
        return True

    def forget(self, connection: Hashable) -> None:
        """It is closed; one that is not known is passed over, for it may have been closed to make room."""
        if (silent := self._silent.pop(connection, None)) is not None:
            _take_one(self._silent_by_peer, silent.peer)
        if (peer := self._working.pop(connection, None)) is not None:
            _take_one(self._working_by_peer, peer)


class Deadline:
    """One timer, which is set anew or taken back."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def start(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` in so many seconds, instead of whatever was to be called."""
        self.stop()
        self._timer = self._loop.call_later(seconds, then)

    def stop(self) -> None:
        """Call nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _take_one(counted: Counter[str], peer: str) -> None:
    counted[peer] -= 1
    if not counted[peer]:
        del counted[peer]
