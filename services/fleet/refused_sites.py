"""Counts for the audit log what the hub refuses its sites, in sync and attestation, and what a site refuses of what the
hub publishes. Next: refusal_counts.py."""

from __future__ import annotations

from tidegate.brokers.base import UnreachableError
from tidegate.schemas.errors import RetryLaterError, TidegateError
from tidegate.services.fleet.refusal_counts import RefusalAct, RefusalCounts, RefusalKind
from tidegate.sync.trust.faults import BlobMissingError, SourceUnavailableError
from tidegate.sync.trust.leases import ClonedSiteError

NOT_REFUSED = (RetryLaterError, UnreachableError, SourceUnavailableError, BlobMissingError)
"""What cannot be done now, or is on its way: nobody did wrong."""


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


class RefusedArtefacts:
    """Counts by what was offered and code: a signature, an older epoch, a policy that cannot be used."""

    def __init__(self, counts: RefusalCounts) -> None:
        self._counts = counts

    def on_refused(self, offered: str, error: TidegateError) -> None:
        """See `OnRefused`."""
        if not isinstance(error, NOT_REFUSED):
            self._counts.add(RefusalKind("", error.code, f"hub {offered}"[:256]))
