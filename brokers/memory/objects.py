"""The in-memory object store: the same names, chunks, digests and errors, nothing outside this process.

Next: ../jetstream/objects.py, which keeps the same promises on a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

from tidegate.brokers.objects import (
    CHUNK_BYTES,
    ObjectChangedError,
    ObjectInfo,
    ObjectNotFoundError,
    ObjectOptions,
    check_chunk,
    check_name,
    chunks_of,
    describe,
    digests_of,
    read_range,
)


class MemoryObjectStore:
    """See `ObjectStore`."""

    def __init__(self, bucket: str, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.bucket = bucket
        self._options = ObjectOptions(chunk_bytes)
        self._infos: dict[str, ObjectInfo] = {}
        self._chunks: dict[str, tuple[bytes, ...]] = {}
        self._uploads = 0

    async def put(self, name: str, source: Path | bytes) -> ObjectInfo:
        """See `ObjectStore`."""
        check_name(name)
        digests = digests_of(source, self._options.max_chunk_size)
        described = describe(name, self.bucket, str(self._uploads), digests, self._options)
        there = self._infos.get(name)
        if there is not None and there.digest == described.digest:
            return there
        chunks = tuple(chunks_of(source, self._options.max_chunk_size))
        if len(chunks) != len(digests.chunks):
            raise ObjectChangedError(f"the source of {name} was written to while it was put")
        if there is not None:
            del self._chunks[there.nuid]
        self._uploads += 1
        self._infos[name], self._chunks[described.nuid] = described, chunks
        return described

    async def info(self, name: str) -> ObjectInfo:
        """See `ObjectStore`."""
        check_name(name)
        if name not in self._infos:
            raise ObjectNotFoundError(f"there is no {name} in {self.bucket}")
        return self._infos[name]

    async def get(self, info: ObjectInfo, first: int = 0) -> AsyncGenerator[bytes, None]:
        """See `ObjectStore`."""
        for number in range(first, info.chunks):
            if info.nuid not in self._chunks:
                raise ObjectChangedError(f"{info.name} was replaced or deleted")
            chunk = self._chunks[info.nuid][number]
            check_chunk(info.name, number, chunk, info.chunk_digests[number])
            yield chunk

    async def read(self, name: str, offset: int, size: int) -> bytes:
        """See `ObjectStore`."""
        return await read_range(self, name, offset, size)

    async def delete(self, name: str) -> None:
        """See `ObjectStore`."""
        gone = await self.info(name)
        del self._infos[name], self._chunks[gone.nuid]

    async def list_objects(self, prefix: str = "") -> list[ObjectInfo]:
        """See `ObjectStore`."""
        wanted = f"{prefix}." if prefix else ""
        return [self._infos[name] for name in sorted(self._infos) if name.startswith(wanted)]
