"""Cuts files into chunks that are verified one by one, and puts them together again, from where a cut left off.

Promises that no byte is kept that is not the signed one, and that a file has its final name only when it is whole.
Next: repository.py, which cuts; client.py, which fetches."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Protocol

from tidegate.schemas.sync import SnapshotChunk
from tidegate.sync.trust.faults import MixedUpTargetError, TamperedChunkError
from tidegate.sync.trust.files import flush_folder, replace_file

CHUNK_BYTES = 512 * 1024
"""Of a chunk: it fits a NATS message of 1 MiB (measured: research/nats.md §7)."""
MOST_CHUNK_BYTES = 8 * 1024 * 1024
CHUNKS = "chunks/"


class BlobSource(Protocol):
    """Where the bytes of a repository are: a directory, an object store."""

    async def read(self, name: str, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset` on; fewer only at the end. Raises `BlobMissingError` where there is no
        such blob, `SourceUnavailableError` or `OSError` where it cannot be read now."""
        ...


def chunk_name(chunk: SnapshotChunk) -> str:
    """The blob that holds a chunk: equal chunks of many files are one."""
    return f"{CHUNKS}{chunk.digest}"


def cut(file: BinaryIO, chunk_bytes: int = CHUNK_BYTES) -> Iterator[tuple[SnapshotChunk, bytes]]:
    """The chunks of a file, in order; none of an empty one."""
    while data := file.read(chunk_bytes):
        yield SnapshotChunk(sha256(data).hexdigest(), len(data)), data


def store_chunk(directory: Path, chunk: SnapshotChunk, data: bytes) -> None:
    """Put a chunk into a repository, unless it is there, whole: then it is as young as a new one. Raises `OSError`."""
    path = directory / chunk_name(chunk)
    if path.is_file() and path.stat().st_size == chunk.size and sha256(path.read_bytes()).digest() == _raw(chunk):
        os.utime(path)
    else:
        replace_file(path, data)


async def download(source: BlobSource, chunks: Sequence[SnapshotChunk], path: Path, digest: str = "") -> None:
    """Fetch the chunks that are not there yet, and put the file together under `path`.

    `digest` is the sha256 of the whole, where it is known: a file that has it is never touched, and none without it is
    made.

    What was fetched before a cut lies beside it, and is verified again before the next chunk is fetched; so is a file
    that is there already, which is fetched anew from its first wrong chunk on. Raises `TamperedChunkError`,
    `BlobMissingError`, `SourceUnavailableError`, `OSError`; `MixedUpTargetError` where good chunks make another file.
    """
    is_there: bool = await asyncio.to_thread(_has_digest, path, digest)
    if is_there:
        return
    part = path.with_name(f"{path.name}.part")
    done, whole = await asyncio.to_thread(_resume, part, path, chunks)
    for chunk in chunks[done:]:
        if chunk.size > MOST_CHUNK_BYTES:
            raise TamperedChunkError(f"a chunk of {chunk.size} bytes is larger than any that is made")
        data = await source.read(chunk_name(chunk), 0, chunk.size + 1)
        if not is_chunk(chunk, data):
            raise TamperedChunkError(f"{chunk_name(chunk)} holds other bytes than those that were signed")
        whole.update(data)
        await asyncio.to_thread(_append, part, data)
    if digest and whole.hexdigest() != digest:
        await asyncio.to_thread(part.unlink)
        raise MixedUpTargetError(f"the chunks make {whole.hexdigest()}, and not {digest}")
    await asyncio.to_thread(_finish, part, path)


def is_chunk(chunk: SnapshotChunk, data: bytes) -> bool:
    """Whether these are the bytes that were signed as this chunk."""
    return len(data) == chunk.size and sha256(data).digest() == _raw(chunk)


def digest_of_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal digits. Raises `OSError`."""
    whole = sha256()
    with open(path, "rb") as file:
        while data := file.read(CHUNK_BYTES):
            whole.update(data)
    return whole.hexdigest()


def _resume(part: Path, path: Path, chunks: Sequence[SnapshotChunk]) -> tuple[int, hashlib._Hash]:
    """How many chunks of the part, or else of the file, are right, and their hash; what follows them is cut off."""
    whole, done, end = sha256(), 0, 0
    part.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        os.replace(path, part)
    with open(os.open(part, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        for chunk in chunks:
            data = file.read(min(chunk.size, MOST_CHUNK_BYTES))
            if not is_chunk(chunk, data):
                break
            whole.update(data)
            done, end = done + 1, end + chunk.size
        file.truncate(end)
    return done, whole


def _has_digest(path: Path, digest: str) -> bool:
    return bool(digest) and path.is_file() and digest_of_file(path) == digest


def _append(part: Path, data: bytes) -> None:
    with open(part, "ab") as file:
        file.write(data)


def _finish(part: Path, path: Path) -> None:
    """Give a whole part its final name, durably."""
    with open(part, "rb") as file:
        os.fsync(file.fileno())
    os.replace(part, path)
    flush_folder(path.parent)


def _raw(chunk: SnapshotChunk) -> bytes:
    return bytes.fromhex(chunk.digest)
