"""What makes a readable request acceptable: rules without I/O, one refusal each; next: ingress.py."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from itertools import accumulate, takewhile

import msgspec

from tidegate.schemas import Asked, Refused, Turn
from tidegate.schemas.refusals import refusal
from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.gateway.refusals import FAULT_CHARS
from tidegate.services.settings import Settings


def find_fault(asked: Asked, settings: Settings, now_ms: int) -> Refused | None:
    """The first reason not to accept `asked`, or None."""
    limit = settings.prefilter.max_chars
    if not asked.tenant:
        return refusal("unreadable", asked.rid, fault="it names no `tenant`", hint="name the tenant")
    if asked.tenant not in settings.tenants:
        return refusal("unknown_tenant", asked.rid, tenant=asked.tenant)
    if not asked.text.strip():
        return refusal("empty_text", asked.rid)
    if len(asked.text) > limit:
        return refusal("text_too_long", asked.rid, chars=len(asked.text), limit=limit)
    if any(
        map(VAULT_TOKEN.search, (asked.text, asked.schema, asked.instructions, *(turn.text for turn in asked.history)))
    ):
        return refusal("forged_token", asked.rid)
    if asked.deadline_at_ms and asked.deadline_at_ms <= now_ms:
        return refusal("deadline_past", asked.rid)
    return _find_schema_fault(asked)


def _find_schema_fault(asked: Asked) -> Refused | None:
    if not asked.schema:
        return refusal("missing_schema", asked.rid) if asked.workload == "extract" else None
    try:
        msgspec.json.decode(asked.schema, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return refusal("bad_schema", asked.rid, fault=str(error)[:FAULT_CHARS])
    return None


def admit(asked: Asked, settings: Settings, now_ms: int) -> Asked:
    """`asked` with what the gateway decides: id, site, times. What a client wrote in their stead is dropped, and so is
    the oldest part of a conversation that is longer than a question may be.

    The deadline is the sooner of the budget's end and the client's own `deadline_at_ms`.
    """
    deadline_at_ms = now_ms + asked.budget_ms
    if asked.deadline_at_ms:
        deadline_at_ms = min(deadline_at_ms, asked.deadline_at_ms)
    return msgspec.structs.replace(
        asked,
        rid=asked.rid or uuid.uuid4().hex,
        site=settings.site,
        asked_at_ms=now_ms,
        deadline_at_ms=deadline_at_ms,
        sealed=b"",
        timings=(),
        history=newest_turns(asked.history, settings.prefilter.max_chars),
    )


def caller_of_asker(asker: str) -> str:
    """Whom the requests of an asker count for: an application, where it asks for its users, else the asker."""
    return asker.partition("/")[0]


def words_of(asked: Asked) -> tuple[object, ...]:
    """What the asker has said: two requests that differ in it are not the same one."""
    return asked.text, asked.schema, asked.history, asked.instructions


def newest_turns(history: Sequence[Turn], max_chars: int) -> tuple[Turn, ...]:
    """The newest whole turns that have at most so many characters together."""
    lengths = accumulate(len(turn.text) for turn in reversed(history))
    kept = sum(1 for _ in takewhile(lambda length: length <= max_chars, lengths))
    return tuple(history[len(history) - kept :])
