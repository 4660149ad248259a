"""The data split: who may write and who may hold the documents of a collection, and the stream that they go by.

One table for both sides: what it refuses is refused by whoever is asked, and named. Next: schemas/sync.py."""

from __future__ import annotations

from typing import Literal

from tidegate.schemas.errors import TidegateError
from tidegate.schemas.subjects import HUB
from tidegate.schemas.sync import Collection, DocumentOperation

OperationStream = Literal["LOCAL", "EDITS", "CORPUS"]


class NotOwnedError(TidegateError):
    """A document is not for this site or for the hub: it may not be written, read or relayed there."""

    hint = "ask where the collection's owner rule has it, or publish the collection with another rule"


def may_hold(collection: Collection, domain: str, home: str = "") -> bool:
    """Whether the documents may be in `domain`, a site or the hub; `home` is the site that a `site` document is of.

    A `site` document is at no other site and never at the hub, whatever the selector says; a selector that is not
    empty only ever takes sites away.
    """
    selected = not collection.sites or domain in collection.sites
    if collection.owner == "site":
        return domain != HUB and selected and domain == (home or domain)
    if collection.owner == "hub":
        return domain == HUB
    return domain == HUB or selected


def may_write(collection: Collection, author: str) -> bool:
    """Whether `author` may write documents of the collection: where it may hold them, and is asked to."""
    if not may_hold(collection, author):
        return False
    return collection.owner != "shared" or author == HUB or collection.sites_write


def stream_of_edit(collection: Collection, author: str) -> OperationStream:
    """Where an author stores its operation: in LOCAL, which nothing sources; in EDITS, on its way to the hub; the hub
    in the log itself. Raises `NotOwnedError` where it may not write there."""
    if not may_write(collection, author):
        raise NotOwnedError(f"{author} may not write to {collection.name}, which is {_owned(collection)}")
    if collection.owner != "shared":
        return "LOCAL"
    return "CORPUS" if author == HUB else "EDITS"


def check_relay(collection: Collection, operation: DocumentOperation, site: str) -> None:
    """Whether the hub may relay an operation that came from `site`. Raises `NotOwnedError` where the site speaks for
    another one, for another collection, or of what it may not share."""
    if (operation.tenant, operation.collection) != (collection.tenant, collection.name):
        raise NotOwnedError(f"{operation.tenant}/{operation.collection} is not {collection.tenant}/{collection.name}")
    if operation.author != site:
        raise NotOwnedError(f"{site} sent an operation of {operation.author}")
    if collection.owner != "shared" or not may_write(collection, site):
        raise NotOwnedError(f"{site} may not share in {collection.name}, which is {_owned(collection)}")


def check_read(collection: Collection, reader: str, home: str = "") -> None:
    """Whether `reader`, a site or the hub, may be given documents of the collection. Raises `NotOwnedError`."""
    if not may_hold(collection, reader, home):
        raise NotOwnedError(f"{reader} may not read {collection.name}, which is {_owned(collection)}")


def _owned(collection: Collection) -> str:
    whose = ", ".join(collection.sites) or "every site"
    if collection.owner == "shared":
        return f"shared with {whose}" + (", written by the hub" if not collection.sites_write else "")
    return "the hub's alone" if collection.owner == "hub" else f"each site's own, at {whose}"
