"""What keeping a domain's replicas can be configured to do; composed in services/settings.py."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tidegate.schemas.lease import BulkHours

IntervalS = Annotated[float, msgspec.Meta(gt=0.0, extra={"unit": "s"})]


class SyncSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a domain follows, compares and is followed."""

    head_every_s: IntervalS = 2.0
    """How often a site asks the hub for the ends of its collections' logs, beside what arrives by itself."""
    compare_every_s: IntervalS = 300.0
    """How often a site compares its replicas with the hub, and repairs what differs."""
    scrub_every_s: IntervalS = 86_400.0
    """How often every document is read back from the disk before it is compared."""
    snapshot_after_deltas: Annotated[int, msgspec.Meta(ge=1)] = 2_000
    """After so many deltas the hub writes a new snapshot of a collection, from which new sites begin."""
    forget_deleted_after_s: IntervalS = 2_592_000.0
    """For how long the hub waits for a site that it does not hear of, before it forgets what was deleted without it."""
    forget_deleted_from: Annotated[int, msgspec.Meta(ge=1, extra={"unit": "documents"})] = 1_000
    """So many deletions of a collection, and a quarter of all that it holds, are forgotten at once: it costs each site
    a snapshot."""
    forget_every_s: IntervalS = 86_400.0
    """How often the hub looks for deletions that all sites have."""
    timestamp_every_s: IntervalS = 60.0
    """How often the hub vouches that what it published last is its present state."""
    lease_lasts_s: Annotated[int, msgspec.Meta(ge=10)] = 300
    """For how long the hub lets a site that has attested itself read what is sensitive; it is renewed at half of it."""
    link_kbit_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    """What artefacts and snapshots may take of the link to the hub, in kilobits per second; 0: no limit."""
    bulk_hours: tuple[BulkHours, ...] = ()
    """When index snapshots and model weights may cross the link, as `22:00-06:00`, UTC; empty: at any time."""
