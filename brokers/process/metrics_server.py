"""Serves what a process counts, in Prometheus' format: in clear to this machine alone, to others by certificates.

Promises that no other machine reads it which shows no certificate, and that one which connects and says nothing keeps
nobody waiting. Next: telemetry.py."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from tidegate.brokers.egress import is_own
from tidegate.brokers.settings import MetricsTlsSettings, ProcessSettings
from tidegate.schemas import TidegateError

PATIENCE_S = 10.0
"""How long a client may take for the handshake, and for each part of its request."""


class MetricsAddressError(TidegateError, OSError):
    """The address on which metrics are to be served cannot be used."""

    hint = "set metrics_host to an address of this machine, and metrics_port to a port that it may use"


class MetricsExposedError(TidegateError, ValueError):
    """Other machines could read the metrics, which count by tenant and site, without showing who they are."""

    hint = (
        "let `metrics_host` be 127.0.0.1, or name in `metrics_tls` a certificate, its key, and the authority of who "
        "may read (`tidegate keys certificate` makes all three)"
    )


class _Request(WSGIRequestHandler):
    timeout = PATIENCE_S

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape is no news."""


class MetricsServer(ThreadingMixIn, WSGIServer):
    """A thread for each scrape; the handshake is in it, so that nobody waits for another's."""

    daemon_threads = True
    context: ssl.SSLContext | None = None

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection. Raises `OSError`."""
        connection, address = super().get_request()
        if self.context is None:
            return connection, address
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who shows no certificate, or goes away, is told by TLS; the connection is closed and nothing else ends."""


@contextmanager
def serve_metrics(settings: ProcessSettings, registry: CollectorRegistry) -> Iterator[int]:
    """Serve `/metrics`; yield the port. Where another process has the configured one, the system chooses one.

    Raises `MetricsAddressError`, `MetricsExposedError`.
    """
    context = context_of(settings)
    try:
        try:
            server = _listen(settings.metrics_host, settings.metrics_port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:  # a peer on this machine has the port that both were configured with
                raise
            server = _listen(settings.metrics_host, 0)
    except OSError as error:
        raise MetricsAddressError(f"no metrics on {settings.metrics_host}:{settings.metrics_port}: {error}") from error
    server.context = context
    server.set_app(make_wsgi_app(registry))
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def context_of(settings: ProcessSettings) -> ssl.SSLContext | None:
    """By what connections are encrypted, and readers believed; None where it is in clear. Raises `MetricsExposedError`
    where others would read in clear, or without a certificate, and `MetricsAddressError` for files that are none."""
    tls = settings.metrics_tls
    if tls == MetricsTlsSettings():
        if not is_own(settings.metrics_host):
            raise MetricsExposedError(f"anybody could read the metrics on {settings.metrics_host or 'every address'}")
        return None
    if not (tls.certificate and tls.key and tls.authority):
        raise MetricsExposedError("`metrics_tls` needs a certificate, its key, and an authority")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.verify_mode = ssl.TLSVersion.TLSv1_3, ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        context.load_verify_locations(tls.authority)
    except OSError as error:  # ssl.SSLError is one
        raise MetricsAddressError(f"`metrics_tls` names files that are none: {error.strerror or error}") from error
    return context


def _listen(host: str, port: int) -> MetricsServer:
    """Raises `OSError`."""
    family, _, _, _, _ = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]

    class Bound(MetricsServer):
        address_family = family

    return Bound((host, port), _Request)
