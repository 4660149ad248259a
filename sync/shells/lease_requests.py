"""Asks over the leaf, and answers: a request has one reply, and a refusal is a reply that says why.

Next: lease_link.py, the hub's end; attestation_link.py, a site's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tidegate.brokers.base import CoreClient
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.message import Message, decode, encode
from tidegate.schemas.replica import ReplicaFault

TIMEOUT_S = 5.0
M = TypeVar("M", bound=Message)


class HubRefusedError(TidegateError):
    """The hub refused what this site asked for; `code` is that of the hub's own error."""

    hint = "the reason is the hub's; it is tried again"

    def __init__(self, fault: ReplicaFault) -> None:
        super().__init__(fault.reason, fault.hint)
        self.code = fault.code


async def ask_hub(bus: CoreClient, subject: str, message: Message, expected: type[M]) -> M:
    """The hub's reply. Raises `HubRefusedError`, `UnreachableError`, `UnreadableError`."""
    reply = decode(await bus.request(subject, encode(message), timeout_s=TIMEOUT_S), expected, ReplicaFault)
    if isinstance(reply, ReplicaFault):
        raise HubRefusedError(reply)
    return reply  # type: ignore[no-any-return]


def as_fault(error: TidegateError) -> ReplicaFault:
    """The error as a reply."""
    return ReplicaFault(code=error.code, reason=error.reason, hint=error.hint)


def refusing(answer: Callable[[str, bytes], Awaitable[Message]]) -> Callable[[str, bytes], Awaitable[bytes]]:
    """Have an error of ours be the reply, in place of none."""

    async def reply(subject: str, data: bytes) -> bytes:
        try:
            return encode(await answer(subject, data))
        except TidegateError as error:
            return encode(as_fault(error))

    return reply
