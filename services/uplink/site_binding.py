"""Which sites the hub takes escalations from, and for which tenants: those that it provisioned, by their records.

Promises that a site which was revoked, or turned out to be two, is heard no more from its next message on. Next:
intake.py; sync/trust/leases.py, which fences a cloned site."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from tidegate.schemas.errors import RetryLaterError, UnreadableError
from tidegate.sync.trust.site_records import SiteRecords, UnknownSiteRecordError

BindingFault = Literal["", "unknown_site", "revoked_site", "cloned_site", "unknown_tenant", "foreign_tenant"]
AGAIN_S = 1.0


class SiteBinding:
    """The sites of one hub, which serves `tenants`. Records are read for each message: a revocation counts at once.

    A hub that has never provisioned a site knows none by name, and takes what its server lets in.
    """

    def __init__(self, tenants: Collection[str], records: SiteRecords) -> None:
        self._tenants = frozenset(tenants)
        self._records = records

    def fault_of(self, site: str, tenant: str = "") -> BindingFault:
        """Why nothing is taken from this site, or not for this tenant; empty where it is. Raises `RetryLaterError`
        where the record of the site cannot be read now."""
        try:
            record = self._records.load(site)
        except UnknownSiteRecordError:
            if self._records.sites():
                return "unknown_site"
            return "" if not tenant or tenant in self._tenants else "unknown_tenant"
        except (UnreadableError, OSError) as error:
            raise RetryLaterError(f"the record of {site} cannot be read", AGAIN_S) from error
        if record.revoked_at_ms:
            return "revoked_site"
        if record.fenced:
            return "cloned_site"
        if tenant and tenant not in self._tenants:
            return "unknown_tenant"
        return "foreign_tenant" if tenant and record.tenants and tenant not in record.tenants else ""

    def has_own_tenants(self, site: str) -> bool:
        """Whether the site serves some of the hub's tenants only, as far as its record can be read."""
        try:
            return bool(self._records.load(site).tenants)
        except (UnknownSiteRecordError, UnreadableError, OSError):  # `fault_of` says so
            return False

    def named(self, tenant: str) -> str:
        """The tenant, where this hub serves it: what else a site calls one is nobody's name."""
        return tenant if tenant in self._tenants else ""
