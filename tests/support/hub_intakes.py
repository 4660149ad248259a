"""A hub's intake for tests: of any sites, or of those that a test has provisioned, with its refusals at hand."""

from __future__ import annotations

from pathlib import Path

from tidegate.services.fleet.refusal_counts import RefusalCounts
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.uplink.intake import HubIntake
from tidegate.services.uplink.site_binding import SiteBinding
from tidegate.services.uplink.source_watch import SourceWatch
from tidegate.sync.trust.site_records import SiteRecords

NOWHERE = Path("no-records")
REGIONS = ("GB", "DE", "FR", "ES", "US")
FIND = Detector(REGIONS).find


def hub_intake(
    directory: Path = NOWHERE, *, counts: RefusalCounts | None = None, tenants: tuple[str, ...] = ("kiosk",)
) -> HubIntake:
    """The intake of a hub with these tenants, whose records of sites are in the directory."""
    records = SiteRecords(directory)
    watch = SourceWatch(directory / "sources", records) if directory != NOWHERE else None
    return HubIntake(SiteBinding(tenants, records), lambda _: FIND, counts or RefusalCounts(), watch=watch)
