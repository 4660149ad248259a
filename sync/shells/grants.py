"""What the shells ask of those who know which site may be sent what.

Next: site_grants.py, which grants by owner rules, leases and links; hub_shell.py, hub_endpoints.py, which ask."""

from __future__ import annotations

from typing import Protocol


class SiteSelection(Protocol):
    """Which tenants a site serves: see `hub_endpoints.SiteAdmission`."""

    def may_hold(self, site: str, tenant: str) -> bool:
        """Whether the site is sent anything of the tenant."""


class Granting(Protocol):
    """Says what each site is sent."""

    async def apply_all(self) -> None:
        """Have every site be sent what it may hold now, and nothing else."""
