"""The HTTP door: an OpenAI-compatible endpoint, the page, health and metrics, served in the worker's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from prometheus_client import REGISTRY, generate_latest

from tidegate.services.fleet.paths import StatePaths
from tidegate.services.gateway.http.routes import application
from tidegate.services.gateway.ingress import Ingress

Metrics = Callable[[], bytes]


class GatewayAddress(msgspec.Struct, frozen=True):
    """Where the HTTP door of a site listens, and which process keeps it; what `gateway.json` holds."""

    url: str
    pid: int


def all_metrics() -> bytes:
    """Everything that this process counts, in Prometheus' text format. Slow with many series: call it in a thread."""
    text: bytes = generate_latest(REGISTRY)
    return text


class HttpServer(uvicorn.Server):
    """uvicorn as a guest: the signals belong to the worker, and `ready` is set when requests are taken."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextlib.asynccontextmanager
async def serve_http(
    ingress: Ingress, metrics: Metrics = all_metrics, **timing: float
) -> AsyncIterator[GatewayAddress]:
    """Serve until left; then let what is in flight finish for at most `settings.grace_s` seconds.

    Yields when requests are taken and `StatePaths.gateway` says where. Raises `OSError` when the address cannot be had.
    `timing` is passed on to the application: `heartbeat_s`, `body_timeout_s`.
    """
    settings = ingress.settings
    listener = listen(settings.gateway.host, settings.gateway.port)
    app = application(ingress, metrics, **timing)
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="wsproto",
        ws_max_size=settings.gateway.max_body_bytes,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.grace_s)),
    )
    server = HttpServer(config)
    serving = asyncio.create_task(server.serve([listener]), name="http-door")
    ready = asyncio.create_task(server.ready.wait())
    address = GatewayAddress(url_of(listener, settings.gateway.host), os.getpid())
    path = StatePaths(settings).gateway
    try:
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        write(path, address)
        yield address
    finally:
        ready.cancel()
        retract(path, address)
        app.state.progress.close()
        server.should_exit = True
        await serving


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises `OSError` that says which address was wanted."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def url_of(listener: socket.socket, host: str) -> str:
    """An address at which a client on this machine reaches the socket."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    name = f"[{reachable}]" if ":" in reachable else reachable
    return f"http://{name}:{listener.getsockname()[1]}"


def write(path: Path, address: Any) -> None:
    """Make the address known in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(msgspec.json.encode(address))
    draft.replace(path)


def retract(path: Path, address: GatewayAddress) -> None:
    """Take the address away, unless a successor has written its own."""
    with contextlib.suppress(FileNotFoundError):
        if msgspec.json.decode(path.read_bytes(), type=GatewayAddress) == address:
            path.unlink()
