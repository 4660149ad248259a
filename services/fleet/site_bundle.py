"""What a new machine needs to become a site, as one file: written at the hub, read on the machine; or on its disk.

The file holds private keys, and is as secret as they are (mode 0600); the hub keeps none of them. Next: provision.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from tidegate.brokers.servers.credentials import load_credential
from tidegate.schemas import TidegateError, UnreadableError, replace
from tidegate.schemas.artefact import Epoch
from tidegate.schemas.message import Name
from tidegate.schemas.subjects import HUB
from tidegate.schemas.trust import KeyRegister, TrustedKey
from tidegate.services.fleet.audit_spool import EventSpool, act_event
from tidegate.services.fleet.endpoints import decode_state
from tidegate.services.fleet.machine_clock import hub_time
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.provision import (
    Enrolment,
    enrol_site,
    hub_places,
    install_identity,
    newest_root,
    provision_hub,
    provisioning,
    set_aside,
)
from tidegate.services.settings import Settings
from tidegate.sync.trust.files import PRIVATE, replace_file, reserved
from tidegate.sync.trust.identity import IdentityFile, SiteIdentity
from tidegate.sync.trust.keys import KeyStore

FORMAT = 1


class ProvisionedDiskError(TidegateError):
    """This disk is a site already, and it is another one, or a later incarnation."""

    hint = "name another state directory with --state, or move this one away"


class SiteBundle(msgspec.Struct, frozen=True, kw_only=True):
    """A site's identity, the root it believes, the keys that it judges by, its own keys, and the seed of its leaf.

    `keys` are private halves (PKCS#8 PEM) by the id of the key. `begins_afresh`: what a disk holds of an earlier
    incarnation, which was revoked, is not used. `hub_leaf_url` is where the hub takes leaves, where that is known.
    """

    format: Annotated[int, msgspec.Meta(ge=1, le=FORMAT)] = FORMAT
    site: Name
    incarnation: Epoch
    tenants: tuple[Name, ...]
    root: bytes
    register: KeyRegister
    keys: dict[str, bytes]
    leaf_seed: str
    begins_afresh: bool = False
    hub_leaf_url: str = ""
    made_at_ms: int = 0

    @property
    def identity(self) -> SiteIdentity:
        """What the disk becomes."""
        return SiteIdentity(site=self.site, incarnation=self.incarnation, tenants=self.tenants)

    @property
    def own_keys(self) -> tuple[TrustedKey, ...]:
        """The public halves of the site's own keys."""
        return tuple(key for key in self.register.keys if key.key_id in self.keys)


def write_bundle(settings: Settings, site: str, file: Path) -> tuple[SiteBundle, Enrolment]:
    """Have the hub know a new machine as this site, its next incarnation where it knows one, and write the file.

    Raises as `enrol_site` does; nothing is enrolled where the file cannot be written.
    """
    hub = StatePaths(replace(settings, site=HUB))
    with reserved(file, mode=PRIVATE) as put:
        bundle, enrolment = make_bundle(hub, site, settings.tenants)
        put(msgspec.json.encode(bundle))
    forget_private_keys(hub, enrolment)
    return bundle, enrolment


def provision_disk(settings: Settings, site: str, directory: Path) -> Enrolment:
    """Make the disk that is mounted at `directory` this site, as its state directory: a new one, or the replacement of
    one that was lost, which is the next incarnation. A disk that is a site already is left as it is, whatever became
    of that: a revoked site does not come back by it.

    Raises as `write_bundle` and `install_bundle` do.
    """
    hub, own = StatePaths(replace(settings, site=HUB)), replace(settings, site=site, state_dir=str(directory))
    file = IdentityFile(StatePaths(own).trust)
    if file.exists:
        enrolment = Enrolment(file.load(), find_own_keys(own))
    else:
        bundle, enrolment = make_bundle(hub, site, settings.tenants)
        install_bundle(own, bundle)
    forget_private_keys(hub, enrolment)
    return enrolment


def find_own_keys(own: Settings) -> tuple[TrustedKey, ...]:
    """The keys of a site whose private halves its disk has. Raises `KeysMissingError`, `UnreadableError`."""
    store = KeyStore(StatePaths(own).keys)
    keys = [key for key in store.register().keys if key.owner == own.site]
    return tuple(key for key in keys if store.has_private(key.key_id))


def make_bundle(hub: StatePaths, site: str, tenants: Sequence[str]) -> tuple[SiteBundle, Enrolment]:
    """Have the hub know a new machine as this site. Raises as `enrol_site` does."""
    with provisioning(hub):
        now_ms = hub_time(hub)()
        provision_hub(hub, now_ms)
        enrolment = enrol_site(hub, site, tenants, None, now_ms, lambda _: None)
    places = hub_places(hub, now_ms)
    bundle = SiteBundle(
        site=site,
        incarnation=enrolment.identity.incarnation,
        tenants=enrolment.identity.tenants,
        root=newest_root(places),
        register=places.store.published(),
        keys={key.key_id: places.store.hand_over(key.key_id) for key in enrolment.keys},
        leaf_seed=load_credential(hub.leaf_seed(site)).seed(),
        begins_afresh=enrolment.was_revoked,
        hub_leaf_url=find_leaf_url(hub),
        made_at_ms=places.now_ms,
    )
    return bundle, enrolment


def read_bundle(file: Path) -> SiteBundle:
    """Raises `UnreadableError`, `OSError`."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=SiteBundle)
    except msgspec.DecodeError as error:
        raise UnreadableError(
            f"{file}: {error}", "write it again at the hub: `tidegate site add NAME --bundle`"
        ) from error


def install_bundle(settings: Settings, bundle: SiteBundle) -> SiteIdentity:
    """Have the disk of `settings.state_dir` be the site of the bundle. The same bundle again changes nothing.

    Raises `ProvisionedDiskError`, `MalformedMetadataError`, `OSError`.
    """
    own = StatePaths(replace(settings, site=bundle.site))
    file = IdentityFile(own.trust)
    held = file.load() if file.exists else None
    if held is not None and held.incarnation > bundle.incarnation:
        raise ProvisionedDiskError(f"{own.trust} is the {held.incarnation}th {held.site}, the bundle is an older one")
    store = KeyStore(own.keys)
    for key in bundle.register.keys:
        store.admit(key)
    for key in bundle.own_keys:
        store.take_over(key, bundle.keys[key.key_id])
    replace_file(own.leaf_seed(bundle.site), bundle.leaf_seed.encode() + b"\n", PRIVATE)
    if bundle.begins_afresh and held != bundle.identity:
        set_aside(own.replicas, held.incarnation if held else 0)
    install_identity(own, bundle.identity, bundle.root)
    if held != bundle.identity:
        act = act_event("site_added", bundle.site, reason=f"incarnation {bundle.incarnation}, by a bundle")
        EventSpool(own.audit_events).report(act)
    return bundle.identity


def find_leaf_url(hub: StatePaths) -> str:
    """Where the hub's server of this machine takes leaves; empty where none was ever started here."""
    try:
        port = decode_state(hub.nats / "ports.json", dict[str, int]).get("leaf", 0)
    except FileNotFoundError:
        return ""
    return f"nats-leaf://127.0.0.1:{port}" if port > 0 else ""


def forget_private_keys(hub: StatePaths, enrolment: Enrolment) -> None:
    """Have the hub keep no private key of a site that is on another machine. Raises `OSError`."""
    store = KeyStore(hub.keys)
    for key in enrolment.keys:
        store.forget_private(key.key_id)
