"""Decides which head of a site's log the hub witnesses, and what a site makes of the heads that it is told of. Pure.

Promises that two heads of one log that were both witnessed are of one history. Source: c2sp.org/tlog-witness.
Next: heads.py, which asks and answers with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tidegate.schemas.audit import HeadFault
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.trust import TrustedKey
from tidegate.services.evidence.checkpoints import (
    BadCheckpointError,
    Checkpoint,
    SignedNote,
    domain_of,
    find_signer,
    origin_of,
    witnessed_at_s,
)
from tidegate.services.evidence.merkle import EMPTY_ROOT, ProofError, check_consistency


class HeadRefusedError(TidegateError):
    """A head of a log is not one that continues what is known of it."""

    hint = "`tidegate audit verify` at that domain says what was changed; keep both heads: together they are the proof"

    def __init__(self, fault: HeadFault, reason: str) -> None:
        super().__init__(reason)
        self.fault: HeadFault = fault


def check_head(
    note: SignedNote,
    domain: str,
    keys: Iterable[TrustedKey],
    known: Checkpoint | None,
    proof: Sequence[bytes],
    old: int,
) -> Checkpoint:
    """The head that a note states, where it continues the one that is known; `proof` is from the size `old` on.

    Raises `HeadRefusedError`: `foreign`, `unsigned`, `truncated`, `forked`, or `unproven` where only the proof is
    missing that begins at the size that is known.
    """
    head = read_head(note, domain, keys)
    before = known or Checkpoint(head.origin, 0, EMPTY_ROOT)
    if head.size < before.size:
        raise HeadRefusedError("truncated", f"the log of {domain} had {before.size} entries, and now has {head.size}")
    if head.size == before.size:
        if head.root != before.root:
            raise HeadRefusedError("forked", f"the log of {domain} has two heads of {head.size} entries")
        return head
    if old != before.size:
        raise HeadRefusedError("unproven", f"it has to prove that it continues {before.size} entries, not {old}")
    try:
        check_consistency(before.size, before.root, head.size, head.root, proof)
    except ProofError as error:
        raise HeadRefusedError("forked", f"the log of {domain}: {error.reason}") from error
    return head


def read_head(note: SignedNote, domain: str, keys: Iterable[TrustedKey]) -> Checkpoint:
    """The head of a domain's log that an author key of it signed. Raises `HeadRefusedError`: `foreign`, `unsigned`."""
    try:
        head = note.checkpoint
        if domain_of(head.origin) != domain:
            raise HeadRefusedError("foreign", f"this is a head of {head.origin[:64]!r}, not of the log of {domain}")
        find_signer(note, author_keys(keys, domain))
    except BadCheckpointError as error:
        raise HeadRefusedError("unsigned", error.reason) from error
    return head


def choose_newer(known: SignedNote | None, heard: SignedNote, witness: str, keys: Sequence[TrustedKey]) -> SignedNote:
    """Which of two heads of another domain's log to keep; `heard` counts only as the witness has cosigned it.

    Raises `HeadRefusedError`: `unsigned` where it has not, `forked` where both are of one size and differ.
    """
    if not witnessed_at_s(heard, origin_of(witness), author_keys(keys, witness)):
        raise HeadRefusedError("unsigned", f"{witness} has not witnessed this head of {heard.checkpoint.origin}")
    if known is None:
        return heard
    old, new = known.checkpoint, heard.checkpoint
    if old.size == new.size and old.root != new.root:
        raise HeadRefusedError("forked", f"{witness} has witnessed two logs of {new.origin} with {new.size} entries")
    return heard if new.size > old.size else known


def author_keys(keys: Iterable[TrustedKey], domain: str) -> list[TrustedKey]:
    """The keys that sign for a domain."""
    return [key for key in keys if (key.role, key.owner) == ("author", domain)]


def good_keys(keys: Iterable[TrustedKey], now_ms: int) -> list[TrustedKey]:
    """Those that are neither revoked nor expired."""
    return [key for key in keys if not key.revoked_at_ms and not (key.expires_at_ms and now_ms >= key.expires_at_ms)]
