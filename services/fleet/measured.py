"""What a site states of itself to get its lease, and how sites of the hub's own machine come to state something else.

Next: trust_site.py, which states it; sync/trust/leases.py, where the hub judges it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import msgspec

from tidegate.schemas import replace
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.audit_spool import EventSpool, act_event
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings
from tidegate.sync.shells.machine import Measures
from tidegate.sync.trust.allowed import CONFIGURATION, MODELS
from tidegate.sync.trust.leases import unpin_site
from tidegate.sync.trust.site_records import SiteRecords

MEASURED_SETTINGS = ("tenants", "prefilter", "router", "retriever", "drafter", "cloud_verifier")
"""The sections of the settings that decide answers."""


def measure_settings(settings: Settings) -> str:
    """The digest of the settings that decide answers."""
    measured = {name: getattr(settings, name) for name in MEASURED_SETTINGS}
    return sha256(msgspec.json.encode(measured, order="deterministic")).hexdigest()


def accept_own_sites(settings: Settings, sites: Sequence[str]) -> tuple[str, ...]:
    """Have the hub of this machine take other models or settings of these sites, which are started here with it; those
    that have changed. The audit log of the hub says so.

    Who starts both has the keys of both: a refusal would only keep sites from what is published after an upgrade.
    Raises `UnknownSiteRecordError`, `UnreadableError`, `OSError`.
    """
    hub = StatePaths(replace(settings, site=HUB))
    records = SiteRecords(hub.site_records)
    runs = {CONFIGURATION: measure_settings(settings), MODELS: Measures().digest(Path(hub.models))}
    changed = []
    for site in sites:
        pinned = records.load(site).pinned
        if names := [name for name, digest in runs.items() if pinned.get(name, digest) != digest]:
            unpin_site(records, site)
            reason = f"it was started on the hub's machine with other {' and '.join(names)}"
            EventSpool(hub.audit_events).report(act_event("site_accepted", site, reason=reason))
            changed.append(site)
    return tuple(changed)
