"""What a hub says of itself when a site measures the round trip to it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tidegate.schemas.message import Message


class CloudState(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The reply to a ping. The defaults say that nothing is known, as does a reply that is no `CloudState` at all.

    `step_ms` is the time of one forward pass of the cloud's model (0: unknown), `queue` how many requests it is working
    on or keeps waiting, `drafts` whether it can verify a draft that is shipped to it, `loops` whether it can do so
    round by round.
    """

    step_ms: Annotated[float, msgspec.Meta(ge=0.0, le=60_000.0)] = 0.0
    queue: Annotated[int, msgspec.Meta(ge=0)] = 0
    drafts: bool = False
    loops: bool = False
