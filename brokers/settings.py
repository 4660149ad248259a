"""What a process of any kind can be configured to do, and how it reaches its server; next: process/config.py.

The settings of the product are composed on top of these in services/settings.py; nothing here knows a stage."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from tidegate.schemas.message import Name

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0.0)]
GRACE_S = 10.0
"""How long a drain takes at most, where nothing else is set."""
Directory = Annotated[str, msgspec.Meta(min_length=1)]


def mask_password(text: str) -> str:
    """The text without the user and the password of a URL in it."""
    return re.sub(r"(?<=://)[^@/\s]*@", "***@", text)


class NatsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a process reaches its own domain's server."""

    url: str = "nats://127.0.0.1:4222"
    """The address of the server of this domain."""
    nkey_seed_file: str = ""
    """The file with the nkey seed that the process logs in with. Empty: the server admits local clients without one."""

    @property
    def public_url(self) -> str:
        """The address without a password, for logs and errors."""
        return mask_password(self.url)


class ProcessSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every process reads. Paths are relative to the working directory."""

    site: Name = "site1"
    """The site that the process belongs to, or `hub`."""
    state_dir: Directory = ".tidegate"
    """Indices, vault, keys, server stores and logs of this machine live below it."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe log lines that are written."""
    grace_s: Seconds = GRACE_S
    """How long a drain may take before work in flight is handed back."""
    metrics_host: str = "127.0.0.1"
    """The address on which metrics are served."""
    metrics_port: Port = 0
    """The port on which metrics are served; where a process of this machine has it, the next one gets a port from the
    system. `tidegate status` lists them. 0: none are served."""
    nats: NatsSettings = NatsSettings()
