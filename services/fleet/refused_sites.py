"""Counts what the hub refuses its sites in sync and attestation, for the audit log. Next: refusal_counts.py."""

from __future__ import annotations

from tidegate.brokers.base import UnreachableError
from tidegate.schemas.errors import RetryLaterError, TidegateError
from tidegate.services.fleet.refusal_counts import RefusalAct, RefusalCounts, RefusalKind
from tidegate.sync.trust.leases import ClonedSiteError

NOT_REFUSED = (RetryLaterError, UnreachableError)
"""What the hub cannot do now: nobody did wrong."""


class RefusedSites:
    """Counts by site and code; a site that turns out to be two is fenced, which is an act of its own."""

    def __init__(self, counts: RefusalCounts) -> None:
        self._counts = counts

    def on_refused(self, site: str, error: TidegateError) -> None:
        """See `OnRefused`. Nothing of what was asked is kept."""
        if isinstance(error, NOT_REFUSED):
            return
        act: RefusalAct = "site_fenced" if isinstance(error, ClonedSiteError) else "refused"
        self._counts.add(RefusalKind("", error.code, f"site:{site[:32]}", act))
