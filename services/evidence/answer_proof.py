"""Proves to somebody who has one answer that it stands in the audit log, in a few kB, and shows nothing of the rest.

`infra/audit/verify_export.py` checks such a proof too, and shares no code with this. Next: merkle.py; export.py, which
is for an auditor of a tenant."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.schemas.audit import AnswerProof, AuditedAnswer, AuditEntry, ProofKey
from tidegate.schemas.errors import TidegateError, UnreadableError
from tidegate.schemas.message import decode
from tidegate.schemas.trust import TrustedKey
from tidegate.services.evidence.checkpoints import SignedNote, origin_of, parse_note, witnessed_at_s
from tidegate.services.evidence.export import NothingSignedError
from tidegate.services.evidence.log_reader import AuditReader, StoredEntry
from tidegate.services.evidence.merkle import check_inclusion, leaf_hash
from tidegate.services.evidence.witness import author_keys, read_head


class AnswerNotLoggedError(TidegateError, LookupError):
    """The log has no whole entry of such an answer."""

    hint = "`tidegate audit list --rid RID` shows what it has; of entries that were trimmed it has hashes only"


class UnreadableProofError(TidegateError, ValueError):
    """A file is no proof of an answer."""

    hint = "`tidegate audit prove RID` makes one; a file of `audit export` is checked by verify_export.py"


class ProvenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof proves: which answer is entry `counter` of the log of `domain`, by its digests (sha256).

    `size` is that of the head, `witnessed` when other domains saw that, in Unix seconds.
    """

    domain: str
    tenant: str
    rid: str
    outcome: str
    text_digest: str
    receipt_digest: str
    logged_at_ms: int
    counter: int
    size: int
    witnessed: dict[str, int]


def prove_answer(reader: AuditReader, rid: str, tenant: str, keys: Sequence[TrustedKey]) -> AnswerProof:
    """Prove the answer of a request by the head that was witnessed, or by the newest signed one where it is behind
    that. `keys` are those by which it can be checked; a proof that they do not bear out is not made.

    Raises `AnswerNotLoggedError`, `NothingSignedError`, and as `check_proof` where the log was changed.
    """
    stored = _find(reader, rid, tenant)
    note = _head_behind(reader, stored.counter)
    path = reader.inclusion_proof(stored.counter, note.checkpoint.size)
    known = tuple(ProofKey(owner=key.owner, public=key.public.hex()) for key in keys)
    proof = AnswerProof(
        format="tidegate-audit-proof",
        version=1,
        entry=stored.leaf.decode(),
        path=tuple(each.hex() for each in path),
        head=str(note),
        keys=known,
    )
    check_proof(proof, keys)
    return proof


def check_proof(proof: AnswerProof, keys: Sequence[TrustedKey]) -> ProvenAnswer:
    """What a proof proves to somebody who trusts `keys`.

    Raises `UnreadableProofError`, `BadCheckpointError`, `HeadRefusedError` where none of the keys signed the head of
    the domain's log, and `ProofError` where that log has no such entry.
    """
    entry, body = _read_entry(proof)
    note = parse_note(proof.head)
    head = read_head(note, entry.domain, keys)
    path = [bytes.fromhex(each) for each in proof.path]
    check_inclusion(leaf_hash(proof.entry.encode()), entry.counter, head.size, path, head.root)
    return ProvenAnswer(
        domain=entry.domain,
        tenant=entry.tenant,
        rid=body.rid,
        outcome=body.outcome,
        text_digest=body.text_digest,
        receipt_digest=body.receipt_digest,
        logged_at_ms=entry.logged_at_ms,
        counter=entry.counter,
        size=head.size,
        witnessed=_witnesses(note, entry.domain, keys),
    )


def read_proof(data: bytes) -> AnswerProof:
    """Raises `UnreadableProofError`."""
    try:
        return msgspec.json.decode(data, type=AnswerProof)
    except msgspec.DecodeError as error:
        raise UnreadableProofError(f"this is no proof of an answer: {error}") from error


def _find(reader: AuditReader, rid: str, tenant: str) -> StoredEntry:
    for stored in reader.newest_first():
        if rid.encode() not in stored.leaf:  # spares reading most entries
            continue
        entry = stored.entry
        if entry.tenant == tenant and isinstance(entry.body, AuditedAnswer) and entry.body.rid == rid:
            return stored
    raise AnswerNotLoggedError(f"the log has no entry of an answer to the request {rid} of {tenant}")


def _head_behind(reader: AuditReader, counter: int) -> SignedNote:
    """A head that covers an entry, one that somebody else has kept before one that nobody has."""
    for note in (reader.head_of(reader.state().origin), reader.newest_checkpoint()):
        if note is not None and note.checkpoint.size > counter:
            return note
    raise NothingSignedError(f"no signed head covers entry {counter} yet")


def _read_entry(proof: AnswerProof) -> tuple[AuditEntry, AuditedAnswer]:
    try:
        entry = decode(proof.entry.encode(), AuditEntry)
    except UnreadableError as error:
        raise UnreadableProofError(f"its entry is none: {error.reason}") from error
    if not isinstance(entry.body, AuditedAnswer):
        raise UnreadableProofError(f"its entry is of no answer, but {entry.kind}")
    return entry, entry.body


def _witnesses(note: SignedNote, domain: str, keys: Sequence[TrustedKey]) -> dict[str, int]:
    """When each other domain says that it saw the head."""
    found = {
        owner: witnessed_at_s(note, origin_of(owner), author_keys(keys, owner))
        for owner in sorted({key.owner for key in keys} - {domain})
    }
    return {owner: at_s for owner, at_s in found.items() if at_s}
