"""Authors of document operations for the tests of sync: each counts, keeps a hybrid clock, and signs nothing."""

from __future__ import annotations

from tidegate.schemas import (
    DocumentContent,
    DocumentOperation,
    Dot,
    HybridTime,
    SignedOperation,
    VectorClock,
    encode,
)
from tidegate.sync.rules.merge import Version, version_of

KEY = "5e" * 32


def content(text: str, title: str = "Hours", **meta: str) -> DocumentContent:
    """A document in English."""
    return DocumentContent(title=title, language="en", text=text, meta=meta)


def signed(operation: DocumentOperation) -> SignedOperation:
    """The operation with a signature that nobody checks."""
    return SignedOperation(payload=encode(operation), signature=bytes(64))


class Author:
    """One actor: a site or the hub, with its counter and its time."""

    def __init__(self, actor: str, boot_id: str = "00" * 8) -> None:
        self.actor, self.boot_id, self.counter, self.previous = actor, boot_id, 0, ""

    def write(
        self,
        document_id: str,
        context: VectorClock,
        written: DocumentContent | None,
        ms: int = 0,
        *,
        is_new: bool = False,
    ) -> Version:
        """The next operation of this author; None deletes."""
        self.counter += 1
        version = version_of(
            signed(
                DocumentOperation(
                    tenant="kiosk",
                    collection="notices",
                    document_id=document_id,
                    dot=Dot(self.actor, self.counter),
                    boot_id=self.boot_id,
                    context=context,
                    time=HybridTime(ms or self.counter),
                    signer=KEY,
                    previous=self.previous,
                    content=written,
                    is_new=is_new,
                )
            )
        )
        self.previous = version.digest
        return version
