"""Which request a hop belongs to: the `traceparent` header of W3C Trace Context, read strictly, written anew."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import msgspec

HEADER = "traceparent"
VERSION_0 = re.compile(r"00-(?P<trace_id>[0-9a-f]{32})-(?P<span_id>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")
LATER = re.compile(
    r"(?!ff|00)[0-9a-f]{2}-(?P<trace_id>[0-9a-f]{32})-(?P<span_id>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(-.*)?"
)
SAMPLED = "01"


class Trace(msgspec.Struct, frozen=True):
    """One hop of one trace: 32 hex digits for the trace, 16 for the hop, 2 for the flags."""

    trace_id: str
    span_id: str
    flags: str = SAMPLED

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    def child(self, chance: Callable[[int], bytes] = os.urandom) -> Trace:
        """The next hop of the same trace."""
        return Trace(self.trace_id, _some(8, chance), self.flags)


def begin(chance: Callable[[int], bytes] = os.urandom) -> Trace:
    """The first hop of a new trace."""
    return Trace(_some(16, chance), _some(8, chance))


def read(header: str | None) -> Trace | None:
    """The hop that a header names; None where it is missing or breaks the rules (W3C Trace Context, section 3.2).

    A later version than ours may say more after the flags; the all-zero ids name nothing.
    """
    match = header and (VERSION_0.fullmatch(header) or LATER.fullmatch(header))
    if not match or not match["trace_id"].strip("0") or not match["span_id"].strip("0"):
        return None
    return Trace(match["trace_id"], match["span_id"], match["flags"])


def follow(header: str | None, chance: Callable[[int], bytes] = os.urandom) -> Trace:
    """The hop after the one that a header names; a new trace where it names none."""
    trace = read(header)
    return begin(chance) if trace is None else trace.child(chance)


def _some(size: int, chance: Callable[[int], bytes]) -> str:
    while not any(drawn := chance(size)):
        pass
    return drawn.hex()
