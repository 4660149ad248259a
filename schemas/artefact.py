"""What reaches a site besides documents: descriptors of artefacts, how long each may be used, and its activation.

A descriptor is a signed TUF target, with its staleness budget inside; next: sync/rules/activation.py, staleness.py."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tidegate.schemas.clocks import Counter
from tidegate.schemas.message import Message, Millis, Name, Rid
from tidegate.schemas.switch import Switch
from tidegate.schemas.sync import BootId, Bytes, Digest, SnapshotChunk

ArtefactKind = Literal[
    "policy", "prompt", "intents", "calibration", "thesaurus", "site-settings", "replies", "confidence",
    "model", "adapter", "switch",
]  # fmt: skip
"""What an artefact is: a part of a pack; or, the last three, weights, and a switch to evidence-only."""
NO_PARTS: frozenset[ArtefactKind] = frozenset({"model", "adapter", "switch"})
"""The kinds that are no part of a pack."""
Rung = Literal["full", "local-only", "evidence-only", "closed"]
Epoch = Annotated[int, msgspec.Meta(ge=1)]


class StalenessBudget(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How long after it was last known to be current an artefact may be used. Past `soft_s` answers are labelled;
    past `hard_s` the site is at `at_hard` or lower; past `closed_s` it is closed (0: age alone does not close it).

    Raises `ValueError` where these do not follow each other: decoding refuses it then.
    """

    soft_s: Annotated[int, msgspec.Meta(ge=1)]
    hard_s: Annotated[int, msgspec.Meta(ge=1)]
    at_hard: Rung = "evidence-only"
    closed_s: Annotated[int, msgspec.Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if not self.soft_s <= self.hard_s:
            raise ValueError("the soft limit lies behind the hard one")
        if self.closed_s and self.closed_s < self.hard_s:
            raise ValueError("it closes before the hard limit")


class ArtefactDescriptor(Message, frozen=True, kw_only=True, omit_defaults=True):
    """One version of an artefact: the `epoch`-th under its name. `is_critical`: all sites activate it in two phases.

    `base_digests` are the models that an adapter fits; empty: it needs none. `switch` is what the bytes of one say, so
    that whoever believes the descriptor need not read them.
    """

    tenant: Name
    kind: ArtefactKind
    name: Rid
    digest: Digest
    size: Bytes
    epoch: Epoch
    budget: StalenessBudget
    is_critical: bool = False
    base_digests: tuple[Digest, ...] = ()
    published_at_ms: Millis = 0
    switch: Switch | None = None


class ArtefactManifest(Message, frozen=True, kw_only=True, omit_defaults=True):
    """An artefact, and the pieces that its bytes are sent in. Signed as a TUF target, as a `SnapshotManifest` is.

    `is_prepared`: sites are asked to hold it, and not to use it before it is published without this.
    """

    artefact: ArtefactDescriptor
    chunks: tuple[SnapshotChunk, ...] = ()
    is_prepared: bool = False


class PrepareActivation(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Phase one, hub to sites: fetch and verify this, say so, and go on with what is in force."""

    artefact: ArtefactDescriptor


class ActivationVote(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A site's word on a `PrepareActivation`: it holds, verified, bytes of `digest`; or `fault` says why not."""

    tenant: Name
    name: Rid
    site: Name
    epoch: Epoch
    digest: Digest | Literal[""] = ""
    fault: str = ""


class DecideActivation(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Phase two, hub to sites: what becomes of the epoch. Final: it is stored before it is sent."""

    tenant: Name
    name: Rid
    epoch: Epoch
    digest: Digest
    outcome: Literal["commit", "abort"]
    decided_at_ms: Millis = 0


class SiteLease(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The hub's grant to a site that has attested itself: what is sensitive may be read for `lasts_s`.

    `incarnation` is that of the site's actor, `counter` the site's own in the attestation that was verified, and
    `hub_time_ms` is the time that the site may trust. `epochs` are the critical artefacts in force, by name: a site
    that has not activated them gets no lease.
    """

    site: Name
    boot_id: BootId
    counter: Counter
    incarnation: Epoch
    lasts_s: Annotated[int, msgspec.Meta(ge=1)]
    hub_time_ms: Millis
    epochs: dict[str, Epoch] = msgspec.field(default_factory=dict)
