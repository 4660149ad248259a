"""What may leave for hosts that are not ours: nothing, unless a permit names the host, the purpose and the data.

Promises that every request is held against the permits at the moment at which it is sent, a retry and a second host
as much as the first. The NATS link to the hub is no egress: it is ours, and has its own credentials. Next:
services/llm/targets/openai_compatible/client.py and process/spans.py, which send."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Literal, get_args
from urllib.parse import urlsplit

import msgspec

from tidegate.schemas import Artefact, TidegateError

EgressPurpose = Literal["inference", "telemetry"]
DataClass = Literal["metadata", "questions", "documents"]
"""What may go, each with all before it: names, times and ids; questions, with vault tokens for personal data;
passages of documents, and so whole prompts."""
PURPOSES: tuple[EgressPurpose, ...] = get_args(EgressPurpose)
DATA: tuple[DataClass, ...] = get_args(DataClass)
_HOST = re.compile(r"(?P<name>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?")
_DEFAULT_PORTS = {"https": 443, "http": 80}


class EgressDeniedError(TidegateError, PermissionError):
    """Nothing permits to send this there."""

    hint = 'permit it in the settings, as in `egress = {"llm.example:443" = "inference documents"}`, or do not send it'


class EgressPermitError(TidegateError, ValueError):
    """A permit cannot be read."""

    hint = f'write "host:port" = "PURPOSE DATA", with {" or ".join(PURPOSES)}, and {", ".join(DATA)}'


class EgressPermit(msgspec.Struct, frozen=True):
    """One host and port, one purpose, and the most that may go there for it."""

    host: str
    port: int
    purpose: EgressPurpose
    data: DataClass

    @property
    def artefact(self) -> Artefact:
        """The permit as receipts name it."""
        return Artefact("egress", f"{self.host}:{self.port}", f"{self.purpose}/{self.data}")


class EgressGate:
    """The permits of a process. Without one for it a host is refused, but for those of this machine itself, which
    nothing leaves."""

    def __init__(self, permits: tuple[EgressPermit, ...] = ()) -> None:
        self._permits = permits

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> EgressGate:
        """The permits of settings: `host` or `host:port` (443, unless given), and `purpose data`, several with commas.
        Raises `EgressPermitError`."""
        found = []
        for host, terms in settings.items():
            match = _HOST.fullmatch(host.lower())
            port = int(match["port"] or 443) if match else 0
            if match is None or not 0 < port < 65_536:
                raise EgressPermitError(f"egress: {host!r} is no host")
            for term in terms.split(","):
                match term.split():
                    case [purpose, data] if purpose in PURPOSES and data in DATA:
                        found.append(EgressPermit(match["name"].strip("[]"), port, purpose, data))
                    case _:
                        raise EgressPermitError(f"egress: {host}: {term.strip()!r} is no purpose with data")
        return cls(tuple(found))

    def check(self, url: str, purpose: EgressPurpose, data: DataClass) -> EgressPermit | None:
        """The permit by which this may be sent to this URL now; None for this machine. Raises `EgressDeniedError`."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if is_own(host):
            return None
        try:
            port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
        except ValueError:
            port = 0
        for permit in self._permits:
            is_meant = (permit.host, permit.port, permit.purpose) == (host, port, purpose)
            if is_meant and DATA.index(data) <= DATA.index(permit.data):
                return permit
        raise EgressDeniedError(f"no permit lets {data} go to {host or 'no host'}:{port} for {purpose}")


NOTHING_LEAVES = EgressGate()


def is_own(host: str) -> bool:
    """Whether a host is this machine, by a name or address that can be no other one's."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
