"""What a sync worker that is played says of conflicts and of what it has published; see sync_party.py."""

from __future__ import annotations

from tidegate.schemas import ArtefactDescriptor, ArtefactPublished, DocumentConflict, SiblingVersion
from tidegate.sync.records import DocumentDamagedError
from tidegate.sync.rules.resolve import resolve
from tidegate.sync.store import ReplicaStore

TENANT = "kiosk"


def conflicts_of(store: ReplicaStore, name: str) -> list[DocumentConflict]:
    """The documents of a collection whose versions were written apart."""
    found = []
    with store.reading() as reader:
        rule = reader.record(name).collection.merge
        for document_id in reader.digests(name):
            try:
                siblings = reader.held(name, document_id).siblings
            except DocumentDamagedError:  # until it is repaired nobody knows its versions
                continue
            conflict = resolve(siblings, rule).conflict
            if conflict is None:
                continue
            versions = [each.operation for each in siblings.versions]
            found.append(
                DocumentConflict(
                    tenant=TENANT,
                    collection=name,
                    document_id=document_id,
                    rule=rule,
                    versions=tuple(
                        SiblingVersion(
                            dot=each.dot,
                            author=each.author,
                            written_at_ms=each.time.ms,
                            signer=each.signer,
                            title=each.content.title if each.content else "",
                            text=each.content.text if each.content else "",
                            is_deletion=each.content is None,
                        )
                        for each in versions
                    ),
                    chosen=conflict.chosen,
                    is_open=conflict.is_open,
                )
            )
    return found


def published_as(artefact: ArtefactDescriptor, *, is_new: bool = True) -> ArtefactPublished:
    """The reply to whoever published it."""
    return ArtefactPublished(
        tenant=artefact.tenant,
        kind=artefact.kind,
        name=artefact.name,
        epoch=artefact.epoch,
        digest=artefact.digest,
        size=artefact.size,
        is_new=is_new,
    )
