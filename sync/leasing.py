"""Whether a site may be given what is sensitive: what this folder asks of attestation, and no more.

Who asks for a sensitive collection without a live lease gets nothing of it. Next: trust/leases.py, which grants leases;
hub_client.py, who checks."""

from __future__ import annotations

from typing import Protocol

from tidegate.schemas.errors import TidegateError
from tidegate.schemas.subjects import HUB
from tidegate.schemas.sync import Collection
from tidegate.sync.trust.site_records import RevokedSiteError


class NoLeaseError(TidegateError):
    """The site has no live lease, and the collection is sensitive: it is given nothing of it."""

    hint = "`tidegate site attest` at the site asks for a lease, and says why there is none"


class LeaseGate(Protocol):
    """Knows which sites have attested themselves lately."""

    def is_leased(self, site: str, now_ms: int) -> bool:
        """Whether the site's newest lease is live at `now_ms`, by the hub's clock, and the site is not revoked."""

    def is_revoked(self, site: str) -> bool:
        """Whether the site was revoked: it reads nothing new."""


def check_lease(gate: LeaseGate | None, collection: Collection, site: str, now_ms: int) -> None:
    """Raises `NoLeaseError` where a site may not be given the collection now; where nobody can say, it may not.
    `RevokedSiteError`: it may not be given anything."""
    if site == HUB:
        return
    if gate is not None and gate.is_revoked(site):
        raise RevokedSiteError(f"{site} was revoked, and asks for {collection.name}")
    if not collection.is_sensitive:
        return
    if gate is None or not gate.is_leased(site, now_ms):
        raise NoLeaseError(f"{site} has no lease, and {collection.name} is sensitive")
