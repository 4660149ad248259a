"""What can be set of the audit log; next: worker.py."""

from __future__ import annotations

from typing import Annotated

import msgspec

RoundS = Annotated[float, msgspec.Meta(gt=0.0, extra={"unit": "s"})]


class AuditSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the audit log of a domain is kept."""

    sign_every_s: RoundS = 1.0
    """How often what is new is logged and the head of the log signed: an entry is signed for that much later."""
    witness_every_s: RoundS = 5.0
    """How often a site has the hub witness its newest head, where there is one."""
    has_witness: bool = True
    """Whether another domain witnesses the heads: the hub those of a site, the sites that of the hub. Until then no
    entry is given up for `retention`. `false` for a site without a hub, or a hub without sites: entries go once a head
    is signed over them, and nobody but the domain can prove later what they were."""
