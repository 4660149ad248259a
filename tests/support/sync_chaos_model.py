"""What all must hold after a run of sync_chaos.py, by the log joined in another order, and by what the driver knows."""

from __future__ import annotations

from tests.support.sync_chaos import NAME, Chaos
from tests.support.sync_parts import Hub, Site
from tidegate.schemas import SignedOperation
from tidegate.sync.rules.merge import NO_VERSIONS, Siblings, Version, join, version_of
from tidegate.sync.rules.merkle import checksum_of


def refer(chaos: Chaos) -> str:
    """The checksum of all operations that are in the log, joined by the rules in another order."""
    operations = [version_of(delta.operation) for delta in chaos.hub.log.deltas.get(NAME, [])]
    chaos.dice.shuffle(operations)
    held: dict[str, Siblings] = {}
    for version in operations:
        document_id = version.operation.document_id
        held[document_id] = join(held.get(document_id, NO_VERSIONS), version)
    return checksum_of({document_id: each.digest for document_id, each in held.items()}).digest


def expect(chaos: Chaos) -> dict[str, set[str]]:
    """The tokens that each document must be made of: those that no edit that is still known had seen."""
    replaced = {token for edit in chaos.edits.values() for token in edit.seen}
    expected: dict[str, set[str]] = {}
    for token, edit in chaos.edits.items():
        if token not in replaced:
            expected.setdefault(edit.document_id, set()).add(token)
    return expected


def held(chaos: Chaos, where: Site | Hub) -> dict[str, set[str]]:
    """The tokens of the versions that are held."""
    with where.store.reading() as reader:
        return {
            document.document_id: {chaos.tokens[version.digest] for version in _versions(document.operations)}
            for document in reader.documents(NAME)
        }


def _versions(operations: tuple[SignedOperation, ...]) -> list[Version]:
    return [version_of(each) for each in operations]
