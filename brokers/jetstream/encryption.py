"""How a client makes sure of the server that it talks to: TLS, by the authority that the settings name.

Promises that where encryption is asked for nothing is sent or believed in clear, whatever the server says of itself.
Next: connection.py and api.py, which use it; services/fleet/certificates.py, the authority.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Any

from nats.aio.client import DEFAULT_BUFFER_SIZE, Client, Srv
from nats.aio.transport import TcpTransport

from tidegate.brokers.base import UnreachableError
from tidegate.brokers.settings import NatsSettings


class UntrustedServerError(UnreachableError):
    """The server shows no certificate that its authority vouches for, under the name by which it was looked for."""

    hint = (
        "let `nats.tls_authority` name the PEM file of the authority that signed the server's certificate, and "
        "`nats.url` a name that stands in it"
    )


class AuthorityFileError(UntrustedServerError):
    """The file that should hold the certificate of an authority cannot be read, or holds none."""

    hint = "let `nats.tls_authority` name the ca.pem that `configure.py` or `tidegate keys certificate` has written"


def encryption_of(settings: NatsSettings) -> dict[str, Any]:
    """What an `EncryptedClient` is told. Raises `AuthorityFileError`."""
    scheme = settings.url.partition("://")[0]
    if not settings.tls_authority and scheme not in ("tls", "wss"):
        return {}
    try:
        context = ssl.create_default_context(cafile=settings.tls_authority or None)
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or str(error)
        raise AuthorityFileError(f"{settings.tls_authority} holds no certificate that can be read: {reason}") from error
    return {"tls": context}


class EncryptedTransport(TcpTransport):
    """A connection that begins with the handshake: a server, or whoever stands before it, that speaks in clear gets
    nothing, where nats-py would go on in clear with one that does not ask for encryption.

    nats-py's own way to begin with it takes over a connection whose first bytes it may have read already, so that the
    handshake and then its own closing wait without end (seen with nats-py 2.16).
    """

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._context, self._host = context, host

    async def connect(self, uri: Any, buffer_size: int, connect_timeout: int) -> None:
        async with asyncio.timeout(connect_timeout):
            self._io_reader, self._io_writer = await asyncio.open_connection(
                uri.hostname, uri.port, limit=buffer_size, ssl=self._context, server_hostname=self._host
            )

    async def connect_tls(self, *_: Any) -> None:
        """It is encrypted already."""


class EncryptedClient(Client):
    """A client that is encrypted from the first byte where it is given an `ssl.SSLContext` as `tls`."""

    async def _connect_to_server(self, s: Srv) -> None:
        context = self.options.get("tls")
        if context is None or s.uri.scheme not in ("nats", "tls"):
            await super()._connect_to_server(s)
            return
        s.last_attempt = time.monotonic()
        transport = EncryptedTransport(context, s.tls_name or s.uri.hostname or "")
        await transport.connect(s.uri, DEFAULT_BUFFER_SIZE, self.options["connect_timeout"])
        self._transport = transport


def is_distrusted(error: BaseException | None) -> bool:
    """Whether a connection failed by what the server has shown, so that trying again changes nothing by itself."""
    return isinstance(error, ssl.SSLError)


def name_distrust(settings: NatsSettings, error: BaseException | None) -> UntrustedServerError:
    """The error for a failed handshake, in words that say which end is wrong."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"shows a certificate that is not believed: {error.verify_message.rstrip('.')}"
    else:
        reason = f"does not speak TLS as it should: {getattr(error, 'reason', None) or error}"
    return UntrustedServerError(f"the server at {settings.public_url} {reason}")
