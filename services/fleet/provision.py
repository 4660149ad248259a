"""Makes a hub that can sign, and sites that it knows: keys, repository, records, and the root that a site believes.

Promises that a second time changes nothing, and that a disk which was never provisioned, or whose site was fenced or
revoked since, becomes the next incarnation. Next: site_bundle.py, for another machine; hub_keys.py."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import msgspec

from tidegate.brokers.servers.fleet import check_site_name
from tidegate.schemas import replace
from tidegate.schemas.subjects import HUB
from tidegate.schemas.trust import KeyRole, TrustedKey
from tidegate.services.fleet.audit_spool import EventSpool, act_event
from tidegate.services.fleet.hub_keys import KeyPlaces, NewPassphrases, new_passphrase_in_environment
from tidegate.services.fleet.machine_clock import hub_time
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings
from tidegate.sync.shells.machine import running_code
from tidegate.sync.trust.allowed import CODE, AllowedDigests
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.identity import IdentityFile, SiteIdentity
from tidegate.sync.trust.publication import read_publication
from tidegate.sync.trust.site_records import SiteRecord, SiteRecords, UnknownSiteRecordError
from tidegate.sync.trust.sources import DirectorySource

ROLES: tuple[KeyRole, ...] = get_args(KeyRole)
SITE_ROLES: tuple[KeyRole, ...] = ("device", "author")


class Enrolment(msgspec.Struct, frozen=True):
    """What the hub knows a site as now, and the site's own keys. `is_new`: it is another incarnation than before;
    `was_revoked`: nothing of what the disk holds may be used by it."""

    identity: SiteIdentity
    keys: tuple[TrustedKey, ...]
    is_new: bool = False
    was_revoked: bool = False


def provision_hub(paths: StatePaths, now_ms: int) -> bytes:
    """Give the hub its keys and its repository, where it has none; the newest root, which sites are to believe.

    Keys are encrypted where the environment has a passphrase. Raises what `KeyStore` and `Repository` raise, `OSError`.
    """
    places = hub_places(paths, now_ms)
    for role in ROLES:
        places.make_missing(role, HUB)
    if not places.repository.exists:
        places.create_repository()
    AllowedDigests(paths.allowed).allow({CODE: running_code()})
    return newest_root(places)


def provision_site(settings: Settings, site: str) -> Enrolment:
    """Make a site of this machine, whose hub is on this machine too. Raises `BadSiteNameError`, and as `provision_hub`
    does."""
    with provisioning(StatePaths(settings)):
        return _provision_site(settings, site)


def provision_fleet(settings: Settings, sites: Sequence[str]) -> dict[str, Enrolment]:
    """Make a hub and all of its sites on one machine. Raises as `provision_site` does."""
    with provisioning(StatePaths(settings)):
        hub = StatePaths(replace(settings, site=HUB))
        provision_hub(hub, hub_time(hub)())
        return {site: _provision_site(settings, site) for site in sites}


@contextmanager
def provisioning(paths: StatePaths) -> Iterator[None]:
    """Be the only one who provisions below a state directory: two at once would each make the keys that there are to be
    once. Whoever is second waits, and finds it done. Raises `OSError`."""
    paths.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(paths.state / "provision.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _provision_site(settings: Settings, site: str) -> Enrolment:
    hub, own = StatePaths(replace(settings, site=HUB)), StatePaths(replace(settings, site=site))
    now_ms = hub_time(hub)()
    root = provision_hub(hub, now_ms)
    identity = IdentityFile(own.trust)
    held = identity.load() if identity.exists else None
    enrolment = enrol_site(hub, site, settings.tenants, held, now_ms)
    if enrolment.was_revoked:
        set_aside(own.replicas, held.incarnation if held else 0)
    install_identity(own, enrolment.identity, root)
    return enrolment


def enrol_site(
    hub: StatePaths,
    site: str,
    tenants: Sequence[str],
    held: SiteIdentity | None,
    now_ms: int,
    passphrases: NewPassphrases = new_passphrase_in_environment,
) -> Enrolment:
    """Have the hub know a site, whose disk is `held` (None: it was never provisioned), and all sites know its keys.

    The keys of an incarnation that is over are revoked. Raises `BadSiteNameError`, and as `provision_hub` does.
    """
    check_site_name(site)
    places, records = hub_places(hub, now_ms), SiteRecords(hub.site_records)
    record = find_record(records, site)
    if record is not None and record.is_good and held is not None and held.incarnation == record.incarnation:
        keys = tuple(key for role in SITE_ROLES for key in places.make_missing(role, site))
        places.publish_register()
        return Enrolment(held, keys)
    if record is not None:
        retire_keys(places, site, f"{site} was provisioned anew")
    made = tuple(places.generate(role, site, passphrases) for role in SITE_ROLES)
    incarnation = max(record.incarnation if record else 0, held.incarnation if held else 0) + 1
    places.publish_register()
    records.provision(site, incarnation, made[0].key_id, tuple(tenants))
    identity = SiteIdentity(site=site, incarnation=incarnation, tenants=tuple(tenants))
    EventSpool(hub.audit_events).report(act_event("site_added", site, reason=f"incarnation {incarnation}"))
    return Enrolment(identity, made, is_new=True, was_revoked=record is not None and bool(record.revoked_at_ms))


def install_identity(own: StatePaths, identity: SiteIdentity, root: bytes) -> None:
    """Have a disk be this site, and believe this root. What it held as another incarnation is moved aside.

    Raises `MalformedMetadataError`, `OSError`.
    """
    file = IdentityFile(own.trust)
    before = file.load() if file.exists else None
    if before is not None and before != identity:
        set_aside(own.trust, before.incarnation)
    RepositoryClient(own.trust, DirectorySource(own.trust)).provision(root)
    if before != identity:
        file.store(identity)


def hub_places(hub: StatePaths, now_ms: int) -> KeyPlaces:
    """The keys and the repository of the hub of this machine."""
    return KeyPlaces.of(hub.keys, hub.repository, now_ms)


def newest_root(places: KeyPlaces) -> bytes:
    """The root that the newest metadata is signed under. Raises as `Repository.state` does."""
    files = read_publication(places.repository).files
    return files[[name for name in files if name.endswith(".root.json")][-1]]


def find_record(records: SiteRecords, site: str) -> SiteRecord | None:
    """What the hub knows of a site; None: nothing. Raises `UnreadableError`."""
    try:
        return records.load(site)
    except UnknownSiteRecordError:
        return None


def retire_keys(places: KeyPlaces, site: str, reason: str) -> None:
    """Revoke all keys of a site, here; `publish_register` says so to the others."""
    for role in SITE_ROLES:
        for key in places.store.good(role, site, places.now_ms):
            places.store.revoke(key.key_id, places.now_ms, reason)


def set_aside(directory: Path, incarnation: int) -> None:
    """Move what belongs to an incarnation that is over out of the way. Raises `OSError`."""
    if directory.exists():
        aside = directory.with_name(f"{directory.name}.{incarnation}")
        number = 0
        while aside.exists():
            number += 1
            aside = directory.with_name(f"{directory.name}.{incarnation}.{number}")
        os.rename(directory, aside)
