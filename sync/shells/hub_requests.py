"""Asks the hub under the site's own name, and raises what the hub could not do as the error that it was.

Promises one reply, or `UnreachableError` in time. Next: leaf_client.py; hub_endpoints.py, who answers."""

from __future__ import annotations

from typing import TypeVar

from tidegate.brokers.base import CoreClient
from tidegate.schemas.following import (
    MOST_DELTAS,
    MOST_OPERATIONS,
    DeltasRequest,
    FollowRequest,
    HeadRequest,
    SendOperations,
)
from tidegate.schemas.message import Message, decode, encode
from tidegate.schemas.replica import ReplicaFault
from tidegate.schemas.subjects import comparison
from tidegate.sync.shells.wire_faults import error_of

TIMEOUT_S = 10.0
"""A reply of 1 MB over a link of 1 Mbit/s."""
SHORT_TIMEOUT_S = 2.0
"""What waits for a reply that is lost with its link is to ask again soon."""
SHORT = (FollowRequest, HeadRequest)
"""Requests whose replies are short, and which are short themselves."""
M = TypeVar("M", bound=Message)


def timeout_of(request: Message) -> float:
    """How long to wait for the reply, in seconds: of what is less it is shorter, and soon asked for again."""
    if isinstance(request, SHORT):
        return SHORT_TIMEOUT_S
    if isinstance(request, DeltasRequest):
        share = min(1.0, (request.last - request.first + 1) / MOST_DELTAS)
    elif isinstance(request, SendOperations):
        share = len(request.operations) / MOST_OPERATIONS
    else:
        share = 1.0
    return SHORT_TIMEOUT_S + (TIMEOUT_S - SHORT_TIMEOUT_S) * share


class HubRequests:
    """What a site asks of its hub."""

    def __init__(self, core: CoreClient, site: str) -> None:
        self._core = core
        self._subject = comparison(site)

    async def ask(self, request: Message, reply: type[M]) -> M:
        """Ask, and return the reply. Raises `UnreachableError`, `UnreadableError`, and what the hub raised."""
        data = await self._core.request(self._subject, encode(request), timeout_s=timeout_of(request))
        answer: Message = decode(data, reply, ReplicaFault)
        if isinstance(answer, ReplicaFault):
            raise error_of(answer)
        assert isinstance(answer, reply)  # one of two types was decoded
        return answer
