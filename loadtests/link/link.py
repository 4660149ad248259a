"""A TCP link with a distance: delay, jitter, rate and outages between two programs of one machine, as a trace says."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from typing import Literal, cast

import msgspec

from loadtests.link.pipes import Pipe, Way, abort

State = Literal["up", "stalled", "cut"]
HOST = "127.0.0.1"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a trace: what the link is from `at_s` seconds after the trace began; None leaves it as it was."""

    at_s: float
    state: State | None = None
    rtt_ms: float | None = None
    jitter_ms: float | None = None
    rate: float | None = None


class End(asyncio.Protocol):
    """One end of one connection: what it says goes into `out`, what comes out of `into` is written to it."""

    def __init__(self, connection: Connection, out: Pipe, into: Pipe) -> None:
        self.connection = connection
        self.transport: asyncio.Transport | None = None
        self._out, self._into = out, into

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = self._out.source = self._into.sink = cast("asyncio.Transport", transport)
        self.connection.made(self)

    def data_received(self, data: bytes) -> None:
        self._out.take(data)

    def eof_received(self) -> bool:
        self._out.end()
        return True  # half closed: the other direction goes on

    def pause_writing(self) -> None:
        self._into.choke(True)

    def resume_writing(self) -> None:
        self._into.choke(False)

    def connection_lost(self, error: Exception | None) -> None:
        self._out.source = self._into.sink = self.transport = None
        self._into.drop()
        self._out.end(reset=error is not None)
        self.connection.lost()


class Connection:
    """The near end, which came to us, and the far end, to which we went for it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        up, down = Pipe(link.up, self.settle), Pipe(link.down, self.settle)
        self.near, self.far = End(self, up, down), End(self, down, up)
        self._pipes = (up, down)
        self.dialling: asyncio.Task[None] | None = None

    def made(self, end: End) -> None:
        """The near end waits for the far one."""
        if end is self.far:
            self._pipes[0].choke(False)
            return
        self._link.connections.add(self)
        if self._link.state == "cut":
            self.abort()
        else:
            self.dialling = asyncio.get_running_loop().create_task(self._dial())

    def lost(self) -> None:
        """An end is gone. Forget the connection once both are."""
        self.settle()
        if self.near.transport is None and self.far.transport is None:
            if self.dialling is not None:
                self.dialling.cancel()
            for pipe in self._pipes:
                pipe.drop()
            self._link.forget(self)

    def settle(self) -> None:
        """Close both ends when there is nothing more to carry between them."""
        if all(pipe.is_over for pipe in self._pipes):
            for end in (self.near, self.far):
                if end.transport is not None:
                    end.transport.close()

    def abort(self) -> None:
        """Reset both ends at once."""
        for pipe in self._pipes:
            pipe.drop()
        for end in (self.near, self.far):
            if end.transport is not None:
                abort(end.transport)

    async def _dial(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.far, *self._link.target)
        except OSError:
            self.abort()
            return
        if self.near.transport is None:
            self.abort()


class Link:
    """Listens on `port`, and carries every connection to `target` and back; `up` is the way from who connects.

    In order, nothing lost but by `cut`. Everything can be changed at any time. A handshake takes no time: a connection
    stands at once, and what is sent over it is late.
    """

    def __init__(self, host: str, port: int, seed: int) -> None:
        self.target = (host, port)
        self.port = 0
        self.state: State = "up"
        self.up, self.down = Way(f"{seed} up"), Way(f"{seed} down")
        self.connections: set[Connection] = set()
        self._none_left = asyncio.Event()

    def set(self, *, rtt_ms: float | None = None, jitter_ms: float | None = None, rate: float | None = None) -> None:
        """Both ways alike: half of the round trip, half of its jitter, and `rate` bytes per second (0: no bound)."""
        changed = {}
        if rtt_ms is not None:
            changed["delay_ms"] = rtt_ms / 2
        if jitter_ms is not None:
            changed["jitter_ms"] = jitter_ms / 2
        if rate is not None:
            changed["rate"] = rate
        for way in (self.up, self.down):
            way.set(**changed)

    def stall(self) -> None:
        """A black hole both ways: connections stand, nothing arrives, nobody is notified."""
        self.state = "stalled"
        for way in (self.up, self.down):
            way.stall()

    def cut(self) -> None:
        """Reset every connection, losing what is under way, and every new one until `heal`."""
        self.state = "cut"
        for connection in tuple(self.connections):
            connection.abort()

    def heal(self) -> None:
        """As before the outage; what was held back is sent again now."""
        self.state = "up"
        for way in (self.up, self.down):
            way.heal()

    def apply(self, step: Step) -> None:
        """Be what one line of a trace says."""
        self.set(rtt_ms=step.rtt_ms, jitter_ms=step.jitter_ms, rate=step.rate)
        match step.state:
            case "up":
                self.heal()
            case "stalled":
                self.stall()
            case "cut":
                self.cut()

    async def play(self, trace: Iterable[Step]) -> None:
        """Follow a trace to its end."""
        began_s = time.monotonic()
        for step in trace:
            await asyncio.sleep(began_s + step.at_s - time.monotonic())
            self.apply(step)

    def forget(self, connection: Connection) -> None:
        """Both ends of it are gone."""
        self.connections.discard(connection)
        if not self.connections:
            self._none_left.set()

    async def close(self) -> None:
        """Reset what is left, and return when every socket is closed."""
        dialling = [connection.dialling for connection in self.connections if connection.dialling is not None]
        self.cut()
        await asyncio.gather(*dialling, return_exceptions=True)
        while self.connections:
            self._none_left.clear()
            await self._none_left.wait()


@contextlib.asynccontextmanager
async def linked(host: str, port: int, *, seed: int = 0) -> AsyncIterator[Link]:
    """A link to `host:port` that lasts as long as the context; the same `seed` gives the same jitter."""
    link = Link(host, port, seed)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(link).near, HOST, 0)
    link.port = server.sockets[0].getsockname()[1]
    try:
        yield link
    finally:
        server.close()
        await link.close()
        await server.wait_closed()
