"""The reader of each tenant: with the shipped weights, or with those that its pack holds for it alone.

Next: knowledge/reader/tuning.py, prepare.py, which fits the confidence of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.live_settings import with_live_settings
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.index.thesaurus import Thesaurus
from tidegate.services.knowledge.reader.effort import AT_HUB, AT_SITE
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.tuning import find_tuning, tuned_tenants
from tidegate.services.knowledge.reader.unit_reader import UnitReader, read_version
from tidegate.services.packs.active import PackInForce
from tidegate.services.policies.policy import Policy
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.privacy.dlp.published import PublishedText
from tidegate.services.settings import Settings

_log = structlog.get_logger()


def units_for(settings: Settings, units: UnitReader, tenant: str) -> UnitReader:
    """The cross-encoder with the tenant's own weights where its pack has some that fit; else as it is, and the reason
    is logged."""
    found = find_tuning(StatePaths(settings).pack, tenant, units.version)
    if found.ignored:
        _log.warning("reader.tuning_ignored", tenant=tenant, reason=found.ignored)
    return units.tuned(found)


def read_readers(settings: Settings) -> tuple[dict[str, str], list[str]]:
    """By tenant the version of its own reader that is in use, and of each that is not used, why. Loads no model."""
    paths = StatePaths(settings)
    tenants = [tenant for tenant in tuned_tenants(paths.pack) if tenant in settings.tenants]
    base = read_version(paths.models) if tenants else ""
    found = {tenant: find_tuning(paths.pack, tenant, base) for tenant in tenants}
    unused = [f"the reader of {tenant} is not used: {each.ignored}" for tenant, each in found.items() if each.ignored]
    return {tenant: each.version for tenant, each in found.items() if each.version}, unused


@dataclass(frozen=True)
class TenantReading:
    """How a site, or the hub, reads for a tenant by its pack in force: into which words it puts a question, what it
    takes for personal data that may not leave the site, by which settings; the policies of a site; and what the tenant
    publishes, at a hub that has made that of its documents."""

    reader: Reader
    thesaurus: Thesaurus | None
    detector: Detector
    settings: Settings
    policies: tuple[Policy, ...] = ()
    published: PublishedText | None = None

    @classmethod
    def load(cls, running: Settings, units: UnitReader, pack: PackInForce) -> TenantReading:
        """Raises `CalibrationMissingError`, `PackError`, `PolicyError`, `SettingsError`."""
        live = with_live_settings(running, pack)
        detector = Detector(
            live.prefilter.phone_regions, finds_health=live.prefilter.health_data, patterns=live.prefilter.patterns
        )
        is_hub = running.site == HUB
        # The hub judges nothing; without any policy the policy stage lets nothing pass, and there is nothing to ask.
        policies = () if is_hub or not (pack.directory / "policies").is_dir() else pack.policies
        reader = pack.load_reader(units, AT_HUB if is_hub else AT_SITE)
        published = pack.published if is_hub and pack.made.published.exists() else None
        return cls(reader, pack.thesaurus, detector, live, policies, published)
