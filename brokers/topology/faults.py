"""What is wrong between the hub's stream and a site's mirror of it, from the facts of both. Pure.

JetStream shows none of it: a wiped mirror and a rolled-back origin have lag 0 and no error (measured on 2.15.1).
Next: ../jetstream/repair.py, which reads the facts; ../jetstream/granting.py, by which a mirror is made anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

StreamFault = Literal["mirror-wiped", "origin-rolled-back"]
"""`mirror-wiped`: it begins behind what it was to have, and takes what lies before for stored, so that nobody sends
that again. `origin-rolled-back`: what the mirror has was lost at the hub, and what is stored there next is taken for
known."""


class OriginFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The hub's stream. `first` is the sequence of the first message that goes to the mirror, the next one to come
    where there is none; `ends` say of the messages that were once the last one of the mirror when they were stored
    here, Unix time in ms, as far as there is one of that sequence."""

    stream: str
    first: int
    last: int
    ends: Mapping[int, int] = {}


class MirrorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A mirror, in sequences of the hub; `first` is the next one to come where it is empty. `ends`: messages that are
    or were its last one, and when the hub had stored each, Unix time in ms. `silent_s`: seconds since the hub was heard
    of, None: never; the one sign of a link that is down, or of a filter that is forbidden."""

    stream: str
    messages: int
    first: int
    last: int
    ends: Mapping[int, int] = {}
    silent_s: float | None = None


def find_fault(mirror: MirrorFacts, origin: OriginFacts) -> StreamFault | None:
    """What is wrong, where the origin's facts were read after the mirror's: what is on its way, and what is given up
    by age on both sides, is then no fault.

    A mirror keeps the times of the hub: an origin that was rolled back and has come past its mirror again holds
    something of another time where the mirror once ended. What was lost and replaced since it ended there is not found.
    """
    if origin.last < mirror.last:
        return "origin-rolled-back"
    if any(mirror.ends.get(sequence, at_ms) != at_ms for sequence, at_ms in origin.ends.items()):
        return "origin-rolled-back"
    return "mirror-wiped" if mirror.first > origin.first else None
