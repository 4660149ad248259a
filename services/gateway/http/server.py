"""Serves the HTTP API in the worker's own loop, and keeps its port from one run to the next.

`gateway.json` says where it listens while it does; next: routes.py."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import uvicorn
from prometheus_client import REGISTRY, generate_latest

from tidegate.brokers.egress import is_own
from tidegate.schemas import TidegateError
from tidegate.services.access.callers import Callers
from tidegate.services.fleet.endpoints import GatewayFile, StateFileDamagedError, decode_state, write_state
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.ports import keep_port, listen
from tidegate.services.gateway.http.access import AccessGate
from tidegate.services.gateway.http.body import DEFAULT_TIMES, HttpTimes
from tidegate.services.gateway.http.connections import fit_to_files
from tidegate.services.gateway.http.protocol import ServerConfig
from tidegate.services.gateway.http.routes import application
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.settings import GatewaySettings
from tidegate.sync.trust.files import PRIVATE

Metrics = Callable[[], bytes]


class TlsSettingsError(TidegateError, ValueError):
    """The HTTP endpoint cannot be encrypted as it is configured."""

    hint = "see `gateway.tls`; `tidegate keys certificate --host NAME --into DIR` makes both files"


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
    ingress: Ingress, callers: Callers, metrics: Metrics = all_metrics, times: HttpTimes = DEFAULT_TIMES
) -> AsyncIterator[GatewayFile]:
    """Serve until left; then let what is in flight finish for at most `settings.grace_s` seconds.

    Yields when requests are taken, and `gateway.json` says where. Raises `AddressUnavailableError`, `TlsSettingsError`.
    """
    settings, paths = ingress.settings, StatePaths(ingress.settings)
    host, tls = settings.gateway.host, tls_options(settings.gateway)
    listener = listen(host, settings.gateway.port or keep_port(host, paths.gateway_port))
    operator_key = secrets.token_urlsafe(32)
    gate = AccessGate(callers, operator_key, settings.tenants[0])
    app = application(ingress, gate, metrics, times)
    config = ServerConfig(
        app,
        fit_to_files(settings.gateway.limits, resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        settings.gateway.max_body_bytes,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.grace_s)),
        **tls,
    )
    server = HttpServer(config)
    serving = asyncio.create_task(server.serve([listener]), name="http-server")
    ready = asyncio.create_task(server.ready.wait())
    address = address_of(listener, settings.gateway, operator_key)
    try:
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        write_state(paths.gateway, address, PRIVATE)
        yield address
    finally:
        ready.cancel()
        remove_address(paths.gateway, address)
        app.state.progress.close()
        server.should_exit = True
        await serving


def address_of(listener: socket.socket, gateway: GatewaySettings, operator_key: str) -> GatewayFile:
    """What others of this machine are told of the server."""
    certificate = os.path.abspath(gateway.tls.certificate) if gateway.tls.certificate else ""
    url = url_of(listener, gateway.host, "https" if certificate else "http")
    return GatewayFile(url, os.getpid(), operator_key, certificate)


def check_encrypted(gateway: GatewaySettings) -> None:
    """Raises `TlsSettingsError` where keys and questions of clients of other machines would be sent in clear."""
    tls = gateway.tls
    if not (tls.certificate or tls.behind_proxy or is_own(gateway.host)):
        raise TlsSettingsError(
            f"clients would be taken on {gateway.host or 'every address'} without encryption",
            "name a certificate in `gateway.tls` (`tidegate keys certificate --host NAME --into DIR` makes one), or "
            "let `gateway.host` be 127.0.0.1; where a proxy encrypts, set `gateway.tls.behind_proxy`",
        )


def tls_options(gateway: GatewaySettings) -> dict[str, str]:
    """What uvicorn is told of the certificate. Raises `TlsSettingsError` where the two files are no pair, and as
    `check_encrypted` does."""
    check_encrypted(gateway)
    tls = gateway.tls
    if not tls.certificate and not tls.key:
        return {}
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or str(error)
        raise TlsSettingsError(
            f"{tls.certificate!r} and {tls.key!r} are no certificate and its key: {reason}"
        ) from error
    return {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}


def url_of(listener: socket.socket, host: str, scheme: str = "http") -> str:
    """An address at which a client on this machine reaches the socket."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    name = f"[{reachable}]" if ":" in reachable else reachable
    return f"{scheme}://{name}:{listener.getsockname()[1]}"


def remove_address(path: Path, address: GatewayFile) -> None:
    """Take the address away, unless a successor has written its own."""
    with contextlib.suppress(FileNotFoundError, StateFileDamagedError):
        if decode_state(path, GatewayFile) == address:
            path.unlink()
