"""What can be set of the vault; next: vault.py."""

from __future__ import annotations

from typing import Annotated

import msgspec

DAY_S = 24 * 3600
TimeToLive = Annotated[int, msgspec.Meta(ge=3600, le=3650 * DAY_S, extra={"unit": "s"})]


class PrivacySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How personal data is kept."""

    vault_ttl_s: TimeToLive = 30 * DAY_S
    """How long the vault keeps a value after it was needed last; then answers that are read again show its token. An
    asker's key is kept a little longer, and what it sealed, questions in ASKS too, is unreadable without it."""
