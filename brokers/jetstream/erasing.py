"""Takes messages out of streams for good: their bytes are overwritten in the server's file, which a purge does not do.

Next: history.py, which finds them."""

from __future__ import annotations

from collections.abc import Callable

from nats.aio.client import Client

from tidegate.brokers.base import StoredMessage
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.history import messages
from tidegate.schemas import TidegateError

GONE = (10037, 10043, 10057)
"""Errors of nats-server where there is no such message: JSNoMessageFoundErr, JSSequenceNotFoundErrF, and
JSStreamMsgDeleteFailedF, which stands for others too."""
NOT_FOUND = "no message found"


class MessageKeptError(TidegateError, RuntimeError):
    """The stream keeps the message."""

    hint = "see whether the stream denies deletes; the message is tried to be erased again"


def every_message(_: StoredMessage) -> bool:
    """All of them."""
    return True


async def erase(nc: Client, position: str) -> bool:
    """Erase the message at `<stream>:<sequence>`; False where it is gone already. Raises `MessageKeptError`,
    `UnreachableError`."""
    stream, _, sequence = position.rpartition(":")
    try:
        await api.call(nc, f"STREAM.MSG.DELETE.{stream}", {"seq": int(sequence), "no_erase": False})
    except api.JetStreamApiError as error:
        if error.err_code in GONE and error.description == NOT_FOUND:
            return False
        raise MessageKeptError(
            f"{position} is not erased: {error.description} (NATS error {error.err_code})"
        ) from error
    return True


async def erase_messages(
    nc: Client, stream: str, subject: str, is_meant: Callable[[StoredMessage], bool] = every_message
) -> int:
    """Erase what is stored under `subject` (wildcards allowed) and meant; how many there were.

    Raises `TopologyMissingError` where there is no such stream, `MessageKeptError`, `UnreachableError`.
    """
    found = [stored for stored in await messages(nc, stream, subject) if is_meant(stored)]
    return sum([await erase(nc, f"{stream}:{stored.sequence}") for stored in found])
