"""Has a site read nothing new: its leases end, its keys are revoked, and the hub's server carries nothing to it.

Promises that each of these holds by itself, and is made again by the next call where it failed. Next: provision.py, by
which the site comes back."""

from __future__ import annotations

from tidegate.brokers.jetstream.api import connect
from tidegate.brokers.jetstream.granting import put_downlink, read_carriers
from tidegate.brokers.topology.downlink import Downlink
from tidegate.schemas import TidegateError, replace
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.audit_spool import EventSpool, act_event
from tidegate.services.fleet.endpoints import find_server
from tidegate.services.fleet.machine_clock import hub_time
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.provision import hub_places, retire_keys
from tidegate.services.settings import Settings
from tidegate.sync.trust.leases import revoke_site
from tidegate.sync.trust.site_records import SiteRecord, SiteRecords


def revoke_fleet_site(hub: StatePaths, site: str, reason: str, now_ms: int) -> SiteRecord:
    """Have a site read nothing new from now on, and nothing of it be believed. Raises `UnknownSiteRecordError`, and
    what signing raises: then its leases have ended, and its keys are good until it is called again."""
    record = revoke_site(SiteRecords(hub.site_records), site, now_ms, reason)
    places = hub_places(hub, now_ms)
    EventSpool(hub.audit_events).report(act_event("site_revoked", site, reason=reason))
    retire_keys(places, site, reason or f"{site} was revoked")
    places.publish_register()
    return record


async def revoke_and_cut(settings: Settings, site: str, reason: str) -> tuple[SiteRecord, str]:
    """Revoke a site, and have the hub's server, where it can be reached, carry nothing more to it when this returns.

    Returns what is known of the site, and why the server could not be changed (empty: it was): the hub's sync worker
    does it then, when it runs. Raises as `revoke_fleet_site` does.
    """
    hub = replace(settings, site=HUB)
    paths = StatePaths(hub)
    record = revoke_fleet_site(paths, site, reason, hub_time(paths)())
    try:
        async with connect(find_server(hub), HUB) as client:
            await put_downlink(client, site, Downlink(), await read_carriers(client, site))
    except TidegateError as error:
        return record, error.reason
    return record, ""
