"""The collections of a pack's documents: those that it declares, and the three that every tenant has.

Promises that each document is in just one, whose owner says the same of it as its scope. Next: documents.py, load.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.schemas.pack import CollectionRules, Document, Pack, Scope
from tidegate.schemas.sync import Collection
from tidegate.services.packs.findings import PackFindings

FILE = "collections.yaml"
FOR_SCOPE: dict[Scope, str] = {"shared": "documents", "hub": "hub-documents", "site": "local"}
"""The collection of a document that is in no declared one. `local` is also where a site writes for itself."""
_DEFAULTS = {name: CollectionRules(name=name, owner=scope) for scope, name in FOR_SCOPE.items()}


def collections_of(pack: Pack, tenant: str) -> tuple[Collection, ...]:
    """All collections of a tenant that has this pack, by name; whether there are documents for them or not."""
    rules = _DEFAULTS | {each.name: each for each in pack.collections}
    return tuple(_collection(tenant, rules[name]) for name in sorted(rules))


def _collection(tenant: str, rules: CollectionRules) -> Collection:
    """What its documents are is said of each of them, and of the collection no more."""
    fields = msgspec.structs.asdict(rules)
    del fields["public_contact"]
    return Collection(tenant=tenant, **fields)


def collection_of(document: Document) -> str:
    """The collection that a document is in."""
    return document.collection or FOR_SCOPE[document.scope]


def documents_by_collection(pack: Pack) -> dict[str, tuple[Document, ...]]:
    """The documents of a pack by collection, in their order; collections without any are not named."""
    found: dict[str, list[Document]] = {}
    for document in pack.documents:
        found.setdefault(collection_of(document), []).append(document)
    return {name: tuple(documents) for name, documents in sorted(found.items())}


def find_declared(file: str, collections: Sequence[CollectionRules]) -> CollectionRules | None:
    """The declared collection for a document's file, named from the folder of documents: that of its first folder."""
    folder, inside, _ = file.partition("/")
    return next((each for each in collections if inside and each.name == folder), None)


def check_collections(pack: Pack, findings: PackFindings) -> None:
    """Note what is wrong with the collections that a pack declares."""
    names: set[str] = set()
    held = set(map(collection_of, pack.documents))
    for each in pack.collections:
        if each.name in names:
            findings.fault_of(each, f"the collection {each.name} is declared twice", "join the two")
        names.add(each.name)
        own = _DEFAULTS.get(each.name)
        if own is not None and own.owner != each.owner:
            hint = f"declare it with owner {own.owner}, or under another name"
            findings.fault_of(each, f"the owner of {each.name} is {own.owner}, in every pack", hint)
        if each.owner != "shared" and (each.sites or each.sites_write):
            hint = "sites and sites_write are for collections of owner shared"
            findings.fault_of(each, f"{each.name} belongs to the {each.owner} alone", hint)
        is_written_at_sites = each.owner == "site" or each.sites_write
        if each.name not in held and not is_written_at_sites and not findings.documents_unread:
            hint = f"put its documents below documents/{each.name}/"
            findings.warn_of(each, f"no document is in the collection {each.name}", hint)
