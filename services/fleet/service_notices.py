"""What systemd wants to hear of a service: that it is ready, that it lives, that it ends (sd_notify(3)).

Promises to say nothing where nobody asked, so that the same command runs in a container.
Next: services/cli/server.py."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping

from tidegate.schemas import TidegateError


class NotifySocketError(TidegateError, OSError):
    """Whoever started the service does not listen where it said that it would."""

    hint = "start it by `systemctl`, or unset NOTIFY_SOCKET"


class ServiceNotices:
    """Datagrams to the socket of whoever started this process. `watchdog_s`: it takes a service for stuck that has not
    said within so long that it lives; 0: it does not ask."""

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = address
        self.watchdog_s = watchdog_s

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ServiceNotices:
        """As systemd passes it on; a watchdog for another process is not this one's."""
        asked = environment.get("WATCHDOG_USEC", "")
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog_s = int(asked) / 1e6 if asked.isdecimal() and is_ours else 0.0
        return cls(environment.get("NOTIFY_SOCKET", ""), watchdog_s)

    def tell(self, notice: str) -> None:
        """Send one, as `READY=1`. Raises `NotifySocketError`."""
        if not self._address:
            return
        # A name that begins with @ is one in the kernel's abstract namespace, and no file.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(notice.encode(), address)
        except OSError as error:
            raise NotifySocketError(f"{self._address}: {error.strerror}") from error

    async def keep_telling(self) -> None:
        """Say that this process lives, twice as often as it must, until cancelled. Raises `NotifySocketError`."""
        if not (self._address and self.watchdog_s):
            return
        while True:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_s / 2)
