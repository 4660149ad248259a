"""How two replicas of a collection find where they differ: a request for key ranges, and the digests of these.

A range is the first hexadecimal digits of the hash of a document's id; next: sync/rules/merkle.py."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tidegate.schemas.message import END, Message, Name
from tidegate.schemas.pack import ItemId
from tidegate.schemas.sync import LogPosition

KeyRange = Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-f]{{0,4}}{END}", description="the first digits of its keys")]
ShortDigest = Annotated[bytes, msgspec.Meta(max_length=16)]
MOST_RANGES = 256
"""Key ranges that one request names at most: 64 KiB of digests in the reply."""


class DocumentDigest(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A document of a range, and the digest of all that is held of it."""

    document_id: ItemId
    digest: ShortDigest


class RangeDigests(msgspec.Struct, frozen=True, array_like=True):
    """A range in detail: the digests of its 16 parts, empty for an empty part; or the documents of a smallest range."""

    range: KeyRange
    parts: Annotated[tuple[ShortDigest, ...], msgspec.Meta(max_length=16)] = ()
    documents: tuple[DocumentDigest, ...] = ()


class RangeRequest(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Asks for these ranges of a collection in detail; the empty range is all of it. Answered by `RangeReply`."""

    tenant: Name
    collection: Name
    ranges: Annotated[tuple[KeyRange, ...], msgspec.Meta(min_length=1, max_length=MOST_RANGES)]


class RangeReply(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The ranges that were asked for, as of one position of the log: what lies behind it is not drift."""

    tenant: Name
    collection: Name
    position: LogPosition | None = None
    ranges: tuple[RangeDigests, ...] = ()
