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
    names_at_hub: bool = True
    """Whether the hub looks for names and addresses with the model, too, in what sites send it: where it has the model
    and knows what the tenant publishes, for tenants whose sites look for names (`prefilter.name_model`). A site
    with documents of its own that name people should send their names masked, or have this off."""
    names_at_hub_budget_ms: Annotated[int, msgspec.Meta(ge=1, extra={"unit": "ms"})] = 1000
    """How long the hub may look for names in one question; what is not read to its end by then is refused."""
