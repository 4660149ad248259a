"""What is wrong between two ends of a stream that crosses the leaf, from the facts of both. Pure.

JetStream shows none of it: a wiped mirror and a rolled-back origin have lag 0 and no error (measured on 2.15.1).
Next: ../jetstream/repair.py, which reads the facts and mends the faults."""

from __future__ import annotations

from typing import Literal

import msgspec

StreamFault = Literal["receiver-wiped", "origin-rolled-back"]
"""`receiver-wiped`: it begins behind what it was to have, and takes what lies before for stored, so that nobody sends
that again; a sourced stream shows it by the first message that comes. `origin-rolled-back`: it ends before what the
receiver has, which takes what is stored there next for known."""


class OriginFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A stream where its messages begin. `first` is the sequence of the first one that goes to the receiver, the next
    one to come where there is none; everything up to `acknowledged` is stored over there, so its carrier was told."""

    stream: str
    first: int
    last: int
    acknowledged: int


class ReceiverFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A mirror, or what a sourced stream has of one site, in sequences of the origin; `first` is the next one to come
    where it is empty. `silent_s`: seconds since the origin was heard of, None: never; the one sign of a link that is
    down, or of a filter that is forbidden."""

    stream: str
    messages: int
    first: int
    last: int
    silent_s: float | None = None


def find_fault(receiver: ReceiverFacts, origin: OriginFacts) -> StreamFault | None:
    """What is wrong, where the origin's facts were read after the receiver's: what is on its way, and what is given up
    by age on both sides, is then no fault.

    An origin that has come past its receiver again is not found so, but by the digests in its log: see
    sync/rules/counters.py; nor is a hole, which the indexes of the log show.
    """
    if origin.last < receiver.last:
        return "origin-rolled-back"
    return "receiver-wiped" if receiver.first > origin.first else None
