"""What the hub remembers of each site: its device key and incarnation, its history, and whether it was revoked.

One file a site, replaced whole. A later incarnation needs another device key. Next: leases.py, which judges by it."""

from __future__ import annotations

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
    """One site, in its newest incarnation. `mark` is the last that it attested, `lease_counter` its newest lease (0:
    none), `fenced` why nothing of it is believed any more."""

    site: Name
    incarnation: int
    device_key: str
    mark: AuthorMark | None = None
    lease_counter: int = 0
    fenced: str = ""
    revoked_at_ms: int = 0
    reason: str = ""
    former_keys: tuple[str, ...] = ()


class SiteRecords:
    """The records of all sites, below one directory; written by one process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, site: str) -> SiteRecord:
        """Raises `UnknownSiteRecordError`, `UnreadableError`."""
        path = self._path(site)
        try:
            return msgspec.json.decode(path.read_bytes(), type=SiteRecord)
        except FileNotFoundError as error:
            raise UnknownSiteRecordError(f"no site {site} was provisioned") from error
        except msgspec.DecodeError as error:
            raise UnreadableError(f"{path}: {error}", "restore it from a backup, or provision the site anew") from error

    def store(self, record: SiteRecord) -> None:
        """Raises `OSError`."""
        replace_file(self._path(record.site), msgspec.json.encode(record), PRIVATE)

    def provision(self, site: str, incarnation: int, device_key: str) -> SiteRecord:
        """Begin a site, or its next incarnation, which is neither fenced nor revoked. Raises `ProvisionedSiteError`
        for an incarnation that is not later, or a key that it had before; `UnreadableError`, `OSError`."""
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
        record = SiteRecord(site=site, incarnation=incarnation, device_key=device_key, former_keys=former)
        self.store(record)
        return record

    def _path(self, site: str) -> Path:
        try:
            return self._directory / f"{msgspec.convert(site, Name)}.json"
        except msgspec.ValidationError as error:
            raise UnknownSiteRecordError(f"{site!r} is no name of a site") from error
