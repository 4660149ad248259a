"""Takes single messages out of streams, and their bytes from the disk. Next: history.py, which finds them."""

from __future__ import annotations

from collections.abc import Callable

from nats.aio.client import Client

from tidegate.brokers.base import StoredMessage
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.history import messages

NO_MESSAGE = 10037  # nats-server, JSNoMessageFoundErr


def every_message(_: StoredMessage) -> bool:
    """All of them."""
    return True


async def erase_messages(
    nc: Client, stream: str, subject: str, is_meant: Callable[[StoredMessage], bool] = every_message
) -> int:
    """Delete what is stored under `subject` (wildcards allowed) and meant; how many. The server writes random bytes
    over each, which a purge does not.

    Raises `TopologyMissingError` where there is no such stream, `JetStreamApiError`, `UnreachableError`.
    """
    erased = 0
    for stored in await messages(nc, stream, subject):
        if not is_meant(stored):
            continue
        try:
            await api.call(nc, f"STREAM.MSG.DELETE.{stream}", {"seq": stored.sequence, "no_erase": False})
        except api.JetStreamApiError as error:
            if error.err_code != NO_MESSAGE:  # it has gone by itself meanwhile
                raise
        else:
            erased += 1
    return erased
