"""What a subject says of the message under it: whose it is, and of which request. A body that says otherwise lies.

The subject is what a server has checked: it lets a user publish under its own subjects only. Next: subjects.py."""

from __future__ import annotations

import re

import msgspec

from tidegate.schemas.message import END, Message, Name, Rid
from tidegate.schemas.subjects import HUB, escalations_of, subject_of

TRACEPARENT = re.compile(rf"00-[0-9a-f]{{32}}-[0-9a-f]{{16}}-[0-9a-f]{{2}}{END}")
"""W3C Trace Context, version 00."""


class EscalationClaim(msgspec.Struct, frozen=True):
    """Which site escalates which request of which tenant, by the subject of the escalation."""

    site: Name
    tenant: Name
    rid: Rid


def claim_of(subject: str) -> EscalationClaim | None:
    """What the subject of an escalation claims; None where it is none of the fixed form."""
    parts = dict(zip(EscalationClaim.__struct_fields__, subject.split(".")[1:], strict=False))
    try:
        claim = msgspec.convert(parts, EscalationClaim)
    except msgspec.ValidationError:
        return None
    return claim if subject == escalations_of(claim.site, f"{claim.tenant}.{claim.rid}") else None


def belongs_under(message: Message, subject: str) -> bool:
    """Whether a stored message is one of those that may be under this subject, at a site or at the hub: its tenant, its
    request, its type and, where the subject names one, its site are the subject's."""
    site = str(getattr(message, "site", ""))
    return subject in (subject_of(message, HUB), subject_of(message, site))
