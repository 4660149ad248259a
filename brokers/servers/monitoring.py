"""What a nats-server says of itself over HTTP on this machine. Next: nats_server.py, kept_server.py, who ask."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

ASK_S = 1.0
Health = Literal["healthy", "unhealthy", "silent"]
"""`unhealthy`: it answers, and some stream cannot be written, as after the disk was full."""

_OTHERS = {"leaf": "leaf nodes", "gateway": "gateways", "websocket": "WebSocket clients", "mqtt": "MQTT clients"}


def ask_monitor(address: str, path: str) -> tuple[int, bytes]:
    """Status and body, within `ASK_S` for each step. Plain HTTP: urllib would go through a proxy that the environment
    names. Raises `OSError`, `http.client.HTTPException`."""
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=ASK_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def ask_health(address: str, path: str = "/healthz") -> Health:
    """How the running server says that it is; a process that is stopped or stuck says nothing."""
    try:
        status, _ = ask_monitor(address, path)
    except (OSError, http.client.HTTPException):
        return "silent"
    return "healthy" if status == http.HTTPStatus.OK else "unhealthy"


class ServerListener(NamedTuple):
    """Where a server takes connections, whose, and whether they are encrypted."""

    who: str
    host: str
    is_encrypted: bool


def listeners_in(about: Mapping[str, Any]) -> list[ServerListener]:
    """All of them by what a server says of itself at `/varz`. It does not say of MQTT, which nothing of ours speaks,
    whether that is encrypted: it counts as in clear."""
    found = [ServerListener("clients", str(about.get("host", "")), bool(about.get("tls_required")))]
    for part, who in _OTHERS.items():
        listener = about.get(part) or {}
        if listener.get("port"):
            is_encrypted = bool(listener.get("tls_required")) or (part == "websocket" and not listener.get("no_tls"))
            found.append(ServerListener(who, str(listener.get("host", "")), is_encrypted))
    cluster = about.get("cluster") or {}
    if cluster.get("cluster_port"):
        found.append(ServerListener("servers", str(cluster.get("addr", "")), bool(cluster.get("tls_required"))))
    return found
