"""What a demonstration of sync saw, step by step, with how long each took. Next: services/fleet/showing.py."""

from __future__ import annotations

import msgspec


class SyncDemonstration(msgspec.Struct, frozen=True, kw_only=True):
    """Sites, empty before or not (`began_empty`), had all in `caught_up_s`. By site: seconds from an edit at the hub
    until it was quoted, and from a policy's publication until an answer named its epoch. `siblings` are the versions
    that every domain holds of a document that was edited at two sites apart, `merged` what is quoted of it, `healed_s`
    how long after the link.
    """

    began_empty: bool
    caught_up_s: float
    quoted_after_s: dict[str, float]
    siblings: int
    checksums: dict[str, str]
    merged: str
    healed_s: float
    policy: str
    epoch: int
    epoch_after_s: dict[str, float]

    @property
    def is_whole(self) -> bool:
        """Whether all domains hold the same."""
        return len(set(self.checksums.values())) == 1 and self.siblings > 1
