"""Says why a replica drifted, from what was found about one document or one leg of an index that differs.

A pure table from evidence to a cause: the repair is the same, the alarm is not. Next: merkle.py, which finds it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Leg = Literal["documents", "texts", "keywords", "vectors"]
"""What was compared: the documents as they are stored, or what an index holds of them, in its own rows and its legs."""
DriftCause = Literal["origin-rolled-back", "tamper", "disk", "code-version", "lost-delta", "unknown"]
CAUSES: tuple[DriftCause, ...] = ("origin-rolled-back", "tamper", "disk", "code-version", "lost-delta", "unknown")
"""From what is worst, so that a repair of many documents says that first."""


class DriftEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was found about one thing that differs; whatever cannot be told has its default.

    `is_behind_replica`: the origin's log ends before the position of the replica. `is_stored`: the replica has it.
    `storage_checksum_ok`: the bytes are those that the storage wrote, by its own checksum. `signature_ok`: the signer
    signed them. `derived_ok`: the leg holds what this code version makes of the document. `made_by` and `code_version`:
    what made it, and what runs now. `is_covered`: the position says that it was applied.
    """

    leg: Leg = "documents"
    is_behind_replica: bool = False
    is_stored: bool = True
    storage_checksum_ok: bool = True
    signature_ok: bool = True
    derived_ok: bool = True
    made_by: str = ""
    code_version: str = ""
    is_covered: bool = True


def cause_of(evidence: DriftEvidence) -> DriftCause:
    """The cause that explains the evidence.

    Bytes that the storage itself calls damaged are the disk's doing. Bytes that it calls whole, though nobody signed
    them, were written by somebody. A leg that another version made is that version's. What is missing, though the
    position covers it, was lost on its way. None of these: `unknown`, which is reported and repaired all the same.
    """
    if evidence.is_behind_replica:
        return "origin-rolled-back"
    if evidence.is_stored and not evidence.storage_checksum_ok:
        return "disk"
    if evidence.is_stored and not evidence.signature_ok:
        return "tamper"
    if evidence.leg != "documents" and evidence.is_stored and not evidence.derived_ok:
        return "code-version" if evidence.made_by != evidence.code_version else "tamper"
    if not evidence.is_stored and evidence.is_covered:
        return "lost-delta"
    return "unknown"


class RepairReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was repaired and why it is thought to have happened: documents by cause, the worst cause first."""

    documents: dict[DriftCause, tuple[str, ...]]
    bytes_on_wire: int = 0

    @property
    def cause(self) -> DriftCause | None:
        """The worst cause; None where nothing had to be repaired."""
        return next(iter(self.documents), None)


def report(found: Iterable[tuple[str, DriftEvidence]], bytes_on_wire: int = 0) -> RepairReport:
    """The report of a repair, from each document's evidence, in any order."""
    causes = sorted((CAUSES.index(cause_of(evidence)), document_id) for document_id, evidence in found)
    documents: dict[DriftCause, tuple[str, ...]] = {}
    for number, document_id in causes:
        documents[CAUSES[number]] = (*documents.get(CAUSES[number], ()), document_id)
    return RepairReport(documents=documents, bytes_on_wire=bytes_on_wire)
