"""A collection as one file, for a site without a link: head, manifest, chunks and tail, the bytes that a link carries.

Importing is following: the file is a `HubClient`, and everything is checked as if the hub had sent it. A file that was
cut or changed is refused before anything is applied. Next: follower.py; snapshots.py."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from tidegate.schemas.comparison import RangeReply, RangeRequest
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.message import decode, encode
from tidegate.schemas.replication import DocumentsRequest, HeldDocuments
from tidegate.schemas.sync import CollectionDelta, CollectionHead, SnapshotManifest

MAGIC = b"tidegate sync bundle 1\n"
_LENGTH = struct.Struct(">Q")
_TRAILER_BYTES = 32


class BundleRefusedError(TidegateError):
    """The file is not a bundle, or not all of one."""

    hint = "export it again with `tidegate sync export`, and compare the sizes after copying it"


class BundleAloneError(TidegateError, ConnectionError):
    """A file was asked what only the hub can answer."""

    hint = "compare and repair over the link, once there is one"


def write_bundle(
    path: Path, head: CollectionHead, manifest: bytes, chunks: Iterable[bytes], deltas: Iterable[CollectionDelta]
) -> None:
    """Write a bundle, and put it in its place once it is whole; nothing is left of it where that is cut short.

    `manifest` is the signed manifest, with what it is verified by (trust/carried.py), `chunks` are its chunks in order,
    `deltas` those behind it up to the head.
    """
    temporary = path.with_name(f"{path.name}.part")
    try:
        with temporary.open("wb") as file:
            hashed = sha256()
            for data in _frames(head, manifest, chunks, deltas):
                hashed.update(data)
                file.write(data)
            file.write(hashed.digest())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_bundle(path: Path) -> None:
    """Raises `BundleRefusedError` unless the file is a bundle, and whole; who wrote it is not looked at."""
    with path.open("rb") as file:
        _check_whole(file, path)


class BundleClient:
    """The hub as a file, for whoever follows it. `open_manifest` checks the signature of a manifest and decodes it;
    without one it is only decoded. Raises `BundleRefusedError` unless the file is whole."""

    def __init__(self, path: Path, open_manifest: Callable[[bytes], SnapshotManifest] | None = None) -> None:
        self._path = path
        self._chunks: dict[str, tuple[int, int]] = {}
        self._deltas: list[tuple[int, int]] = []
        with path.open("rb") as file:
            _check_whole(file, path)
            frames = list(_frame_positions(file, path))
            if len(frames) < 2:
                raise BundleRefusedError(f"{path} holds no manifest")
            self.end = decode(_read(file, frames[0]), CollectionHead)
            """The end of the log when the file was written, as the file has it."""
            self.signed = _read(file, frames[1])
            """The signed manifest."""
            self._manifest = open_manifest(self.signed) if open_manifest else decode(self.signed, SnapshotManifest)
            if len(frames) < 2 + len(self._manifest.chunks):
                raise BundleRefusedError(f"{path} lacks chunks of its manifest")
        for chunk, where in zip(self._manifest.chunks, frames[2:], strict=False):
            self._chunks[chunk.digest] = where
        self._deltas = frames[2 + len(self._manifest.chunks) :]

    async def head(self, collection: str) -> CollectionHead:
        """The end of the log when the file was written. Raises `BundleRefusedError` for another collection."""
        if collection != self.end.collection:
            raise BundleRefusedError(f"{self._path} holds {self.end.collection}, not {collection}")
        return self.end

    def tail_digest(self) -> str:
        """The digest of the deltas of the tail: see `digest_of_tail`."""
        with self._path.open("rb") as file:
            return _digest_frames(_read(file, where) for where in self._deltas)

    async def snapshot(self, collection: str) -> SnapshotManifest | None:
        """The snapshot of the file."""
        await self.head(collection)
        return self._manifest

    async def chunk(self, collection: str, digest: str) -> bytes:
        """A chunk of the snapshot."""
        await self.head(collection)
        with self._path.open("rb") as file:
            return _read(file, self._chunks[digest])

    async def deltas(self, collection: str, epoch: int, first: int, last: int) -> tuple[CollectionDelta, ...]:
        """Deltas of the tail."""
        await self.head(collection)
        with self._path.open("rb") as file:
            tail = (decode(_read(file, where), CollectionDelta) for where in self._deltas)
            return tuple(each for each in tail if each.position.epoch == epoch and first <= each.position.index <= last)

    async def ranges(self, request: RangeRequest) -> RangeReply:
        """Raises `BundleAloneError`."""
        raise BundleAloneError(f"{self._path} is not compared with: {request.collection}")

    async def documents(self, request: DocumentsRequest) -> HeldDocuments:
        """Raises `BundleAloneError`."""
        raise BundleAloneError(f"{self._path} gives no single documents: {request.collection}")

    async def offer(self, documents: HeldDocuments) -> None:
        """Raises `BundleAloneError`."""
        raise BundleAloneError(f"{self._path} takes nothing: {documents.collection}")


def digest_of_tail(deltas: Iterable[CollectionDelta]) -> str:
    """The digest of deltas, by which whoever signs a bundle vouches for them and their order."""
    return _digest_frames(map(encode, deltas))


def _digest_frames(frames: Iterable[bytes]) -> str:
    hashed = sha256()
    for frame in frames:
        hashed.update(_LENGTH.pack(len(frame)))
        hashed.update(frame)
    return hashed.hexdigest()


def _frames(
    head: CollectionHead, manifest: bytes, chunks: Iterable[bytes], deltas: Iterable[CollectionDelta]
) -> Iterator[bytes]:
    yield MAGIC
    for frame in (encode(head), manifest, *chunks, *(encode(delta) for delta in deltas)):
        yield _LENGTH.pack(len(frame))
        yield frame


def _check_whole(file: BinaryIO, path: Path) -> None:
    left = path.stat().st_size - _TRAILER_BYTES
    if left < len(MAGIC) or file.read(len(MAGIC)) != MAGIC:
        raise BundleRefusedError(f"{path} is not a bundle")
    hashed = sha256(MAGIC)
    left -= len(MAGIC)
    while left and (data := file.read(min(left, 1 << 20))):
        hashed.update(data)
        left -= len(data)
    if file.read() != hashed.digest():
        raise BundleRefusedError(f"{path} was cut or changed")


def _frame_positions(file: BinaryIO, path: Path) -> Iterator[tuple[int, int]]:
    at, end = len(MAGIC), path.stat().st_size - _TRAILER_BYTES
    while at < end:
        file.seek(at)
        (size,) = _LENGTH.unpack(file.read(_LENGTH.size))
        at += _LENGTH.size
        yield at, size
        at += size


def _read(file: BinaryIO, where: tuple[int, int]) -> bytes:
    file.seek(where[0])
    return file.read(where[1])
