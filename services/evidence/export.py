"""Writes what an auditor of one tenant may see of an audit log into one file, which proves itself without this product.

The file is JSON lines: keys, signed heads, policies, entries, and for what belongs to others the hashes of whole
subtrees. `infra/audit/verify_export.py` checks it and shares no code with this. Next: merkle.py."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tidegate.schemas.audit import AuditedAct, AuditedAnswer, AuditEntry
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.trust import TrustedKey
from tidegate.services.evidence.checkpoints import SignedNote
from tidegate.services.evidence.entries import is_about
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.evidence.merkle import Range
from tidegate.sync.trust.files import PRIVATE

FORMAT, VERSION = "tidegate-audit-export", 1
SHOWN_EVERY = 1_000


class NothingSignedError(TidegateError, LookupError):
    """No head of the log was ever signed, so that nothing of it can be proven."""

    hint = "wait a second while the audit worker of the domain runs; `tidegate audit head` shows the newest head"


class ExportWish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be disclosed: the entries of `tenant` and those of no tenant, or only those about the request `rid`.

    `policies` are canonical policies by version beside those that the log has; `witnessed` is the newest head of the
    log that somebody else has kept.
    """

    tenant: str
    rid: str = ""
    keys: Sequence[TrustedKey] = ()
    policies: Mapping[str, str] = {}
    witnessed: SignedNote | None = None

    def discloses(self, entry: AuditEntry) -> bool:
        """Whether an entry is shown."""
        if self.rid:
            return entry.tenant == self.tenant and is_about(entry, self.rid)
        return entry.tenant in (self.tenant, "")


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds: `entries` are shown, `hidden` are others', of `size` under the signed head. `unknown_policies`
    are those that receipts name and of which nothing is held here any more."""

    domain: str
    tenant: str
    size: int = 0
    entries: int = 0
    hidden: int = 0
    policies: int = 0
    unknown_policies: int = 0


def export_log(
    reader: AuditReader, wish: ExportWish, file: Path, show: Callable[[int], None] = lambda _: None
) -> ExportReport:
    """Write the file, whole or not at all; it is for its user alone.

    Raises `NothingSignedError`, `BadCheckpointError`, `AuditDamagedError`, `UnreadableError`, `OSError`.
    """
    signed = reader.newest_checkpoint()
    if signed is None:
        raise NothingSignedError("no head of this log was signed yet")
    seen = wish.witnessed
    if seen is not None and seen.checkpoint.size > signed.checkpoint.size:
        seen = None  # it covers entries that no signed head kept here does
    writing = _Writing(reader, wish, seen)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "w", encoding="ascii") as out:
            out.writelines(writing.lines(signed, show))
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)
    return writing.report


class _Writing:
    """One export on its way."""

    def __init__(self, reader: AuditReader, wish: ExportWish, seen: SignedNote | None) -> None:
        self.report = ExportReport(domain=reader.state().domain, tenant=wish.tenant)
        self._reader = reader
        self._wish = wish
        self._seen = seen

    def lines(self, signed: SignedNote, show: Callable[[int], None]) -> Iterator[str]:
        """All lines of the file."""
        wish, size, domain = self._wish, signed.checkpoint.size, self.report.domain
        yield _line(
            "header", format=FORMAT, version=VERSION, domain=domain, tenant=wish.tenant, rid=wish.rid, size=size
        )
        yield from map(_key_line, wish.keys)
        yield from (_line("head", note=str(note)) for note in (signed, self._seen) if note is not None)
        begin, shown, versions, texts = 0, 0, set[str](), dict(wish.policies)
        for stored in self._reader.entries(0, size):
            if stored.counter % SHOWN_EVERY == 0:
                show(stored.counter)
            entry = stored.entry
            if entry.tenant == wish.tenant and isinstance(entry.body, AuditedAct):
                texts |= entry.body.policies
            if wish.discloses(entry):
                yield from self._hidden((begin, stored.counter))
                yield _line("entry", counter=stored.counter, leaf=stored.leaf.decode())
                versions.update(_policies_of(entry))
                shown, begin = shown + 1, stored.counter + 1
        yield from self._hidden((begin, size))
        known = sorted(versions & texts.keys())
        yield from (_line("policy", version=version, canonical=texts[version]) for version in known)
        self.report = msgspec.structs.replace(
            self.report,
            size=size,
            entries=shown,
            hidden=size - shown,
            policies=len(known),
            unknown_policies=len(versions) - len(known),
        )

    def _hidden(self, span: Range) -> Iterator[str]:
        """Subtrees for entries that are not shown, split where a head of the log was witnessed."""
        cut = self._seen.checkpoint.size if self._seen else 0
        spans = [(span[0], cut), (cut, span[1])] if span[0] < cut < span[1] else [span]
        for begin, end in (part for each in spans for part in full_subtrees(each)):
            level = (end - begin).bit_length() - 1
            yield _line("hidden", begin=begin, end=end, hash=self._reader.full(level, begin >> level).hex())


def full_subtrees(span: Range) -> Iterator[Range]:
    """The fewest full subtrees that cover these leaves."""
    begin, end = span
    while begin < end:
        width = begin & -begin or 1 << (end - begin).bit_length() - 1
        while width > end - begin:
            width >>= 1
        yield begin, begin + width
        begin += width


def _policies_of(entry: AuditEntry) -> Iterable[str]:
    body = entry.body
    if not isinstance(body, AuditedAnswer):
        return set()
    return {part.version for part in body.receipt.lineage if part.kind == "policy"}


def _key_line(key: TrustedKey) -> str:
    return _line(
        "key",
        key_id=key.key_id,
        owner=key.owner,
        public=key.public.hex(),
        revoked_at_ms=key.revoked_at_ms,
        expires_at_ms=key.expires_at_ms,
    )


def _line(kind: str, **fields: Any) -> str:
    return json.dumps({"line": kind, **fields}, ensure_ascii=True, separators=(",", ":")) + "\n"
