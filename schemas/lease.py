"""What a site asks the hub for beside documents: a nonce and a lease, and what its link is to carry.

All of it goes over `cloud.<site>.lease`, whose site is the asker. Next: schemas/trust.py, `SignedLease`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tidegate.schemas.artefact import Epoch
from tidegate.schemas.message import END, Message, Millis, Name
from tidegate.schemas.sync import Digest, LogIndex

MOST_ENVELOPE_BYTES = 256 * 1024
BulkHours = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]{END}",
        description="a window of the day, UTC, as 22:00-06:00; over midnight where it ends earlier",
    ),
]


class NonceRequest(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A site asks the hub for a nonce to attest itself with. Answered by `NonceReply`."""


class NonceReply(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A nonce, good for one statement, soon."""

    nonce: Digest


class AttestationRequest(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A site's statement of what it runs: a DSSE envelope, signed by its device key. Answered by `SignedLease`."""

    envelope: Annotated[bytes, msgspec.Meta(max_length=MOST_ENVELOPE_BYTES)]


class MirrorState(msgspec.Struct, frozen=True, array_like=True):
    """What a site's mirror of a stream holds, in sequences of the hub's; `first` is the next to come where it is
    empty. `ends` are messages that were its last one once, by sequence: when the hub stored each, Unix time."""

    messages: LogIndex
    first: LogIndex
    last: LogIndex
    ends: Annotated[dict[int, Millis], msgspec.Meta(max_length=8)] = {}


class DownlinkRequest(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A site says what its link takes, and asks what it is granted. Answered by `DownlinkReply`.

    `kbit_s` is for artefacts and snapshots (0: no limit), `bulk_hours` when index and weights may cross (empty: at any
    time). `wants_weights`: somebody at the site waits for some. Of `tenants` and `collections` its mirrors have all
    that there is. `remade` are mirrors that it has deleted, and makes anew when it has the reply: they are sent from
    their beginning. `mirrors` says by stream what the mirrors hold, now and then.
    """

    kbit_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    bulk_hours: Annotated[tuple[BulkHours, ...], msgspec.Meta(max_length=8)] = ()
    wants_weights: bool = False
    tenants: tuple[Name, ...] = ()
    collections: tuple[tuple[Name, Name], ...] = ()
    remade: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()
    mirrors: Annotated[dict[str, MirrorState], msgspec.Meta(max_length=16)] = msgspec.field(default_factory=dict)


class DownlinkReply(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What the site is granted, as tenants and `(tenant, collection)`, and which buckets are held back now.

    `passed` are sequences, by stream, of messages that were stored before they were granted: they come no more, and a
    mirror that lacks one of them has to be made anew. So have those in `stale`, which by `mirrors` are empty where they
    were filled, or hold what the hub has lost.
    """

    tenants: tuple[Name, ...] = ()
    collections: tuple[tuple[Name, Name], ...] = ()
    paused: tuple[str, ...] = ()
    passed: dict[str, tuple[int, ...]] = msgspec.field(default_factory=dict)
    stale: tuple[str, ...] = ()


class AttestNow(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Asks the sync worker of a site to attest itself to the hub at once. Answered by `LeaseReport`."""


class LeaseReport(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a site's last attestation: the lease, or why there is none (`code`, `reason`, `hint`).

    `until_ms` is when the newest lease ends, by the hub's clock (0: there is none); `measured` are the digests that the
    site stated, `epochs` the critical artefacts in force there.
    """

    site: Name
    incarnation: Epoch = 1
    counter: Annotated[int, msgspec.Meta(ge=0)] = 0
    assurance: str = ""
    until_ms: Millis = 0
    lasts_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    epochs: dict[str, Epoch] = msgspec.field(default_factory=dict)
    measured: dict[str, str] = msgspec.field(default_factory=dict)
    code: str = ""
    reason: str = ""
    hint: str = ""
