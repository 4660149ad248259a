"""What the hub remembers of each site: its device key and incarnation, its history, and whether it was revoked.

One file a site, replaced whole, by one process at a time. A later incarnation needs another device key. Next:
leases.py, which judges by it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tidegate.schemas.errors import TidegateError, UnreadableError
from tidegate.schemas.message import Name
from tidegate.schemas.sync import AuthorMark
from tidegate.sync.trust.faults import TrustError
from tidegate.sync.trust.files import PRIVATE, replace_file


class UnknownSiteRecordError(TidegateError, LookupError):
    """The hub was never told of this site."""

    hint = "`tidegate site add` provisions it"


class RevokedSiteError(TrustError):
    """The site was revoked: it reads nothing new."""

    hint = "a revoked site comes back only as a new machine: `tidegate site add` provisions its next incarnation"


class ProvisionedSiteError(TrustError):
    """The site is provisioned already, as this incarnation or a later one, or with this key."""

    hint = "provision it as its next incarnation, with a device key that is new"


class SiteRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One site, in its newest incarnation. `device_key` signed its last statement, `mark` is that statement,
    `lease_counter` its newest lease (0: none), `fenced` why nothing of it is believed any more.

    `pinned` are the digests that it has to state again, as it did in its first statement; `epochs` the critical
    artefacts that were in force there, and `activated_at_ms` since when that is known; `tenants` whom it serves.
    """

    site: Name
    incarnation: int
    device_key: str
    tenants: tuple[Name, ...] = ()
    mark: AuthorMark | None = None
    lease_counter: int = 0
    leased_from_ms: int = 0
    leased_until_ms: int = 0
    pinned: dict[str, str] = {}
    epochs: dict[str, int] = {}
    activated_at_ms: dict[str, int] = {}
    fenced: str = ""
    revoked_at_ms: int = 0
    reason: str = ""
    former_keys: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether anything of the site is believed: it is neither revoked nor fenced."""
        return not self.revoked_at_ms and not self.fenced


class SiteRecords:
    """The records of all sites, below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes a record meanwhile, in any process; not to be entered twice. Raises `OSError`."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with open(self._directory / ".lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def sites(self) -> tuple[str, ...]:
        """The sites that were ever provisioned, by name."""
        return tuple(sorted(path.stem for path in self._directory.glob("*.json")))

    def load(self, site: str) -> SiteRecord:
        """Raises `UnknownSiteRecordError`, `UnreadableError`."""
        path = self._path(site)
        try:
            return msgspec.json.decode(path.read_bytes(), type=SiteRecord)
        except FileNotFoundError as error:
            raise UnknownSiteRecordError(f"no site {site} was provisioned") from error
        except msgspec.DecodeError as error:
            raise UnreadableError(f"{path}: {error}", "restore it from a backup, or provision the site anew") from error

    def tenants_of_sites(self) -> dict[str, tuple[str, ...]]:
        """Whom each site serves that was ever provisioned: what the hub's server lets it ask for. Raises
        `UnreadableError`."""
        return {site: self.load(site).tenants for site in self.sites()}

    def store(self, record: SiteRecord) -> None:
        """Raises `OSError`."""
        replace_file(self._path(record.site), msgspec.json.encode(record), PRIVATE)

    def provision(self, site: str, incarnation: int, device_key: str, tenants: tuple[str, ...] = ()) -> SiteRecord:
        """Begin a site, or its next incarnation, which is neither fenced nor revoked. Raises `ProvisionedSiteError`
        for an incarnation that is not later, or a key that it had before; `UnreadableError`, `OSError`."""
        with self.changing():
            return self._provision(site, incarnation, device_key, tenants)

    def _provision(self, site: str, incarnation: int, device_key: str, tenants: tuple[str, ...]) -> SiteRecord:
        former: tuple[str, ...] = ()
        try:
            known = self.load(site)
        except UnknownSiteRecordError:
            known = None
        if known is not None:
            former = (*known.former_keys, known.device_key)
            if incarnation <= known.incarnation:
                raise ProvisionedSiteError(f"{site} is provisioned for the {known.incarnation}th time already")
            if device_key in former:
                raise ProvisionedSiteError(f"{site} had the device key {device_key} before")
        record = SiteRecord(
            site=site, incarnation=incarnation, device_key=device_key, tenants=tenants, former_keys=former
        )
        self.store(record)
        return record

    def _path(self, site: str) -> Path:
        try:
            return self._directory / f"{msgspec.convert(site, Name)}.json"
        except msgspec.ValidationError as error:
            raise UnknownSiteRecordError(f"{site!r} is no name of a site") from error
