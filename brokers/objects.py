"""Files too large for one message: stored as chunks, each verified by its digest when it is read, at any offset.

Promises that a transfer which was cut goes on at its next chunk, in either direction, and that no reader is given bytes
that are not those which were put. Next: jetstream/objects.py, which keeps the promises."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

import msgspec

from tidegate.schemas import TidegateError

CHUNK_BYTES = 512 * 1024
"""With the headers far below the 1 MiB that a message may have; larger chunks are no faster."""
MOST_CHUNKS = 16_384
"""So that the digests of all chunks fit the one message that describes the object: 8 GiB."""
DIGEST_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){1,4}")


class BadObjectNameError(TidegateError, ValueError):
    """The text is no name of an object."""

    hint = "a name is 2 to 5 words of A-Z a-z 0-9 _ - with dots between them, the tenant first: kiosk.faq.snapshot-7"


class ObjectNotFoundError(TidegateError, LookupError):
    """There is no object of this name here (any more, or yet)."""

    hint = "list what is there; at a site, see whether its downlink grants it and whether the mirror has caught up"


class ObjectIncompleteError(TidegateError, RuntimeError):
    """A chunk is not here yet: the mirror is behind. `next_chunk` is its number."""

    hint = "go on with this chunk once the mirror has it"

    def __init__(self, name: str, next_chunk: int, chunks: int) -> None:
        super().__init__(f"{name}: chunk {next_chunk} of {chunks} is not here")
        self.next_chunk = next_chunk


class ObjectDamagedError(TidegateError, RuntimeError):
    """A chunk is not what was put; `chunk` is its number, and nothing of it was given to the reader."""

    hint = "make the mirror anew; where the hub has the same bytes, delete the object there and put it again"

    def __init__(self, name: str, chunk: int, what: str) -> None:
        super().__init__(f"{name}: chunk {chunk} {what}")
        self.chunk = chunk


class ObjectChangedError(TidegateError, RuntimeError):
    """What was read changed meanwhile: the object was replaced or deleted, or the file that is put was written to."""

    hint = "begin again with what is there now"


class ObjectTooLargeError(TidegateError, ValueError):
    """The object has more chunks than its description can name."""

    hint = f"split it into objects of at most {MOST_CHUNKS * CHUNK_BYTES >> 30} GiB"


class ObjectOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """As NATS writes it."""

    max_chunk_size: int = CHUNK_BYTES


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an object is, in the form of NATS' object stores (ADR-20). `nuid` is the id of its upload, `size` in bytes.

    `digest` is of the whole, `metadata` has those of the chunks and the sequence of the first one.
    """

    name: str
    bucket: str
    nuid: str
    size: int = 0
    chunks: int = 0
    digest: str = ""
    mtime: str = ""
    deleted: bool = False
    options: ObjectOptions = ObjectOptions()
    metadata: dict[str, str] = {}

    @property
    def sha256(self) -> str:
        """The digest of the whole, in hexadecimal digits."""
        return base64.urlsafe_b64decode(self.digest.removeprefix("SHA-256=")).hex()

    @property
    def chunk_digests(self) -> tuple[bytes, ...]:
        """The sha256 of each chunk."""
        joined = base64.b64decode(self.metadata.get("chunk-digests", ""))
        return tuple(joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES))

    @property
    def first_sequence(self) -> int:
        """Where in the stream its first chunk is, or some way before."""
        return int(self.metadata.get("first-sequence", "1"))


class ObjectStore(Protocol):
    """The objects of one bucket; written at the hub, read there and from the mirrors of the sites."""

    bucket: str

    async def put(self, name: str, source: Path | bytes) -> ObjectInfo:
        """Store the bytes, or the file, under `name`, and return when all of it is stored.

        Called again after a cut, with the same bytes, it goes on behind the last chunk that was stored; of what is
        there already nothing is stored twice. Readers see the whole new version, or the one before. Raises
        `BadObjectNameError`, `ObjectTooLargeError`, `ObjectChangedError`.
        """

    async def info(self, name: str) -> ObjectInfo:
        """What is stored under `name`. Raises `ObjectNotFoundError`, `BadObjectNameError`."""

    def get(self, info: ObjectInfo, first: int = 0) -> AsyncGenerator[bytes, None]:
        """The chunks from number `first` on, in order, each verified before it is given out.

        Raises `ObjectIncompleteError` where the mirror is behind, `ObjectDamagedError`, `ObjectChangedError`.
        """

    async def read(self, name: str, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on; fewer at the end. From the beginning of an object that is replaced meanwhile
        they are the new one's. Raises what `info` and `get` raise."""

    async def delete(self, name: str) -> None:
        """Delete it, and its chunks in every mirror too. Raises `ObjectNotFoundError`."""

    async def list_objects(self, prefix: str = "") -> list[ObjectInfo]:
        """All objects by name, or those whose name begins with the words of `prefix`."""


class Digests(msgspec.Struct, frozen=True):
    """The digests of what is put."""

    size: int
    whole: bytes
    chunks: tuple[bytes, ...]


def digests_of(source: Path | bytes, chunk_bytes: int) -> Digests:
    """Reads all of it once. Raises `ObjectTooLargeError`, `OSError`."""
    whole, size = hashlib.sha256(), 0
    chunks: list[bytes] = []
    for chunk in chunks_of(source, chunk_bytes):
        if len(chunks) == MOST_CHUNKS:
            raise ObjectTooLargeError(f"it is more than {MOST_CHUNKS} chunks of {chunk_bytes} bytes")
        whole.update(chunk)
        chunks.append(hashlib.sha256(chunk).digest())
        size += len(chunk)
    return Digests(size, whole.digest(), tuple(chunks))


def chunks_of(source: Path | bytes, chunk_bytes: int, first: int = 0) -> Iterator[bytes]:
    """The chunks from number `first` on."""
    if isinstance(source, bytes):
        yield from (source[at : at + chunk_bytes] for at in range(first * chunk_bytes, len(source), chunk_bytes))
        return
    with source.open("rb") as file:
        file.seek(first * chunk_bytes)
        while chunk := file.read(chunk_bytes):
            yield chunk


def describe(name: str, bucket: str, nuid: str, digests: Digests, options: ObjectOptions) -> ObjectInfo:
    """The description of an object; its `mtime` and the sequence of its first chunk are still to be told."""
    return ObjectInfo(
        name=name,
        bucket=bucket,
        nuid=nuid,
        size=digests.size,
        chunks=len(digests.chunks),
        digest="SHA-256=" + base64.urlsafe_b64encode(digests.whole).decode(),
        options=options,
        metadata={"chunk-digests": base64.b64encode(b"".join(digests.chunks)).decode()},
    )


def check_name(name: str) -> None:
    """Raises `BadObjectNameError`."""
    if _NAME.fullmatch(name) is None:
        raise BadObjectNameError(f"{name!r} is no name of an object")


def check_chunk(name: str, number: int, chunk: bytes, digest: bytes) -> None:
    """Raises `ObjectDamagedError` where the bytes are not those of the chunk."""
    if hashlib.sha256(chunk).digest() != digest:
        raise ObjectDamagedError(name, number, "has another digest than what was put")


async def read_range(store: ObjectStore, name: str, offset: int, size: int) -> bytes:
    """`ObjectStore.read` by its `get`: the chunks that the range touches, cut to it.

    An object that is replaced meanwhile is read anew from its beginning; behind that the caller has another version.
    """
    info = await store.info(name)
    while True:
        try:
            return await _read_chunks(store, info, offset, size)
        except ObjectChangedError:
            before, info = info, await store.info(name)
            if offset > 0 or info.nuid == before.nuid:
                raise


async def _read_chunks(store: ObjectStore, info: ObjectInfo, offset: int, size: int) -> bytes:
    parts = bytearray()
    first, skipped = divmod(max(0, offset), info.options.max_chunk_size)
    wanted = min(size, info.size - offset)
    if wanted <= 0:
        return b""
    async with aclosing(store.get(info, first)) as chunks:
        async for chunk in chunks:
            parts += chunk
            if len(parts) >= skipped + wanted:
                break
    return bytes(parts[skipped : skipped + wanted])
