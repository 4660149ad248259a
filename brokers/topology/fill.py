"""How full a stream is, and from when on it is too full for work that is not begun yet. Pure.

Promises that what is refused at the door is refused while what was let in can still be stored. Next: streams.py, which
says what a full stream does; ../jetstream/api.py, which reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tidegate.schemas.subjects import ANSWERS, ASKS, DEAD, ESCALATIONS, PIPE, VERDICTS

NEAR = 0.8
"""From this share on a stream is said to fill up: at the pace of the defaults that leaves days."""
RESERVE_BYTES = 4 << 20
"""What requests in work may still store: 64 of them, 64 kB in a stream each."""
OF_REQUESTS = (ASKS, PIPE, ESCALATIONS, VERDICTS, ANSWERS, DEAD)
"""The streams that a request may need before it is over."""


class StreamFill(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream holds and what it may hold, in bytes and in messages; 0: without a limit. One that
    `gives_up_oldest` is never too full."""

    stream: str
    bytes: int = 0
    max_bytes: int = 0
    messages: int = 0
    max_messages: int = 0
    gives_up_oldest: bool = False

    @property
    def share(self) -> float:
        """How full it is, of 1."""
        of_bytes = self.bytes / self.max_bytes if self.max_bytes else 0.0
        of_messages = self.messages / self.max_messages if self.max_messages else 0.0
        return round(max(of_bytes, of_messages), 4)

    @property
    def is_near(self) -> bool:
        """Whether it fills up, and will refuse."""
        return not self.gives_up_oldest and (self.share >= NEAR or self.is_full)

    @property
    def is_full(self) -> bool:
        """Whether nothing new should be begun that has to be stored here."""
        if self.gives_up_oldest:
            return False
        few_bytes = self.max_bytes > 0 and self.bytes >= self.max_bytes - reserve_of(self.max_bytes, RESERVE_BYTES)
        few_messages = self.max_messages > 0 and self.messages >= self.max_messages - reserve_of(self.max_messages, 64)
        return few_bytes or few_messages

    def __str__(self) -> str:
        return f"{self.stream} is {self.share:.0%} full"


def reserve_of(most: int, least: int) -> int:
    """What is kept free of `most` for what is in work: a fiftieth or `least`, but never more than a quarter."""
    return max(1, min(most // 4, max(most // 50, least)))


def fill_of(item: Mapping[str, Any]) -> StreamFill:
    """The fill in an item of JetStream's list of streams."""
    config, state = item["config"], item["state"]
    return StreamFill(
        stream=config["name"],
        bytes=state["bytes"],
        max_bytes=max(0, config.get("max_bytes") or 0),
        messages=state["messages"],
        max_messages=max(0, config.get("max_msgs") or 0),
        gives_up_oldest=config.get("discard", "old") == "old",
    )
