"""Who a site is: what it was provisioned as, and how far it has counted since; one file each in its trust directory.

Without it a disk is nobody's, and is provisioned as the next incarnation. Next: site_records.py, what the hub knows."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tidegate.schemas.artefact import Epoch
from tidegate.schemas.errors import TidegateError, UnreadableError
from tidegate.schemas.message import Name
from tidegate.sync.trust.files import PRIVATE, replace_file


class NoIdentityError(TidegateError, LookupError):
    """This disk was never provisioned as a site."""

    hint = "`tidegate site add` provisions it"


class SiteIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """The site that a disk is, in which of its incarnations, and the tenants that it serves."""

    site: Name
    incarnation: Epoch
    tenants: tuple[Name, ...] = ()


class IdentityFile:
    """The identity of a site, and the counter of its statements, below one directory."""

    def __init__(self, directory: Path) -> None:
        self._identity = directory / "identity.json"
        self._counter = directory / "attested.json"

    @property
    def exists(self) -> bool:
        """Whether the disk was ever provisioned."""
        return self._identity.exists()

    def load(self) -> SiteIdentity:
        """Raises `NoIdentityError`, `UnreadableError`."""
        try:
            return msgspec.json.decode(self._identity.read_bytes(), type=SiteIdentity)
        except FileNotFoundError as error:
            raise NoIdentityError(f"{self._identity.parent} was never provisioned") from error
        except msgspec.DecodeError as error:
            raise UnreadableError(
                f"{self._identity}: {error}", "provision the site anew: `tidegate site add`"
            ) from error

    def store(self, identity: SiteIdentity) -> None:
        """Be this from now on; a counter of before is forgotten. Raises `OSError`."""
        self._counter.unlink(missing_ok=True)
        replace_file(self._identity, msgspec.json.encode(identity), PRIVATE)

    def count(self) -> int:
        """The counter of the next statement, stored before this returns. Raises `UnreadableError`, `OSError`."""
        try:
            counted = msgspec.json.decode(self._counter.read_bytes(), type=int)
        except FileNotFoundError:
            counted = 0
        except msgspec.DecodeError as error:
            raise UnreadableError(
                f"{self._counter}: {error}", "provision the site anew: `tidegate site add`"
            ) from error
        replace_file(self._counter, msgspec.json.encode(counted + 1), PRIVATE)
        return counted + 1
