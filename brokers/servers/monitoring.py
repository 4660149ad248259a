"""What a nats-server says of itself over HTTP on this machine. Next: nats_server.py, kept_server.py, who ask."""

from __future__ import annotations

import http.client
from typing import Literal
from urllib.parse import urlsplit

ASK_S = 1.0
Health = Literal["healthy", "unhealthy", "silent"]
"""`unhealthy`: it answers, and some stream cannot be written, as after the disk was full."""


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
