"""An object store over a stream `OBJ_<bucket>`, in the layout of NATS' own as far as names and filters allow.

Chunks are read by batches of direct gets: nats-py's own reader takes memory for each and fails on mirrors. A name is
several subject tokens, where NATS has one in base64: a site's downlink filters by them. Next: ../objects.py."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tidegate.brokers.base import StoredMessage
from tidegate.brokers.jetstream import history
from tidegate.brokers.jetstream.connection import Link
from tidegate.brokers.jetstream.publisher import Publisher
from tidegate.brokers.objects import (
    CHUNK_BYTES,
    Digests,
    ObjectChangedError,
    ObjectDamagedError,
    ObjectIncompleteError,
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
from tidegate.schemas.subjects import object_chunks, object_description, object_stream

IN_FLIGHT = 16
"""Chunks of one upload that wait for their acknowledgement: more is no faster, and is memory."""
BATCH = 16
"""Chunks of one direct get: 8 MiB."""
_ROLLUP = "Nats-Rollup"
_read_info = msgspec.json.Decoder(ObjectInfo).decode


class JetStreamObjectStore:
    """See `ObjectStore`. `put` and `delete` at a mirror raise `NotAcknowledgedError`, as no stream takes them there."""

    def __init__(self, link: Link, publisher: Publisher, bucket: str, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.bucket = bucket
        self._link = link
        self._publisher = publisher
        self._stream = object_stream(bucket)
        self._options = ObjectOptions(chunk_bytes)

    async def put(self, name: str, source: Path | bytes) -> ObjectInfo:
        """See `ObjectStore`. Raises `NotStoredError`, `NotAcknowledgedError`, `UnreachableError`, too."""
        check_name(name)
        digests = await asyncio.to_thread(digests_of, source, self._options.max_chunk_size)
        newest = await self._last(object_description(self.bucket, name))
        before = None if newest is None else _read_info(newest.data)
        if before is not None and not before.deleted and before.sha256 == digests.whole.hex():
            await self._end_replacing(before)
            return before
        nuid, stored = await self._find_upload(name, digests, 0 if newest is None else newest.sequence)
        info = describe(name, self.bucket, nuid, digests, self._options)
        await self._upload(info, source, stored)
        first = await self._first(info)
        info = msgspec.structs.replace(
            info, mtime=datetime.now(UTC).isoformat(), metadata={**info.metadata, "first-sequence": str(first)}
        )
        if before is not None and not before.deleted:
            info.metadata["replaces"] = before.nuid
        await self._describe(info, f"{nuid}.description")
        await self._end_replacing(info)
        return info

    async def info(self, name: str) -> ObjectInfo:
        """See `ObjectStore`. Raises `UnreachableError`, too."""
        check_name(name)
        stored = await self._last(object_description(self.bucket, name))
        info = None if stored is None else _read_info(stored.data)
        if info is None or info.deleted:
            raise ObjectNotFoundError(f"there is no {name} in {self.bucket}")
        return info

    async def get(self, info: ObjectInfo, first: int = 0) -> AsyncGenerator[bytes, None]:
        """See `ObjectStore`. Raises `UnreachableError`, `TopologyMissingError`, too."""
        if first >= info.chunks:
            return
        digests, number = info.chunk_digests, first
        sequence = await self._sequence_of(info, first)
        while number < info.chunks:
            page = await self._page(info, sequence - 1, min(BATCH, info.chunks - number))
            for stored in page:
                if _number_of(info, stored) != number:
                    raise ObjectDamagedError(info.name, number, f"is missing, and {stored.position} comes instead")
                check_chunk(
                    info.name, number, stored.data, digests[number]
                )  # 0.6 ms: a thread costs more, on a busy machine
                yield stored.data
                number, sequence = number + 1, stored.sequence + 1
            if not page:
                raise ObjectIncompleteError(info.name, number, info.chunks)

    async def read(self, name: str, offset: int, size: int) -> bytes:
        """See `ObjectStore`."""
        return await read_range(self, name, offset, size)

    async def delete(self, name: str) -> None:
        """See `ObjectStore`. Raises as `put` does, too."""
        info = await self.info(name)
        gone = ObjectInfo(name=name, bucket=self.bucket, nuid=info.nuid, mtime=info.mtime, deleted=True)
        await self._describe(gone, f"{info.nuid}.deleted")
        await self._drop_chunks(name, info.nuid)

    async def list_objects(self, prefix: str = "") -> list[ObjectInfo]:
        """See `ObjectStore`. Raises `UnreachableError`, `TopologyMissingError`."""
        everything = object_description(self.bucket, f"{prefix}.>" if prefix else ">")
        stored = await history.messages(self._link.client, self._stream, everything)
        found = [_read_info(message.data) for message in stored]
        return sorted((info for info in found if not info.deleted), key=lambda info: info.name)

    async def _find_upload(self, name: str, digests: Digests, after: int) -> tuple[str, int]:
        """The id of this upload, and how many of its chunks are stored: those of one that was cut.

        The id follows from the bytes, and from the description that it replaces: what was deleted and is put again is
        another upload, whose chunks the stream does not take for duplicates.
        """
        attempt = 0
        while True:
            seed = json.dumps([name, digests.whole.hex(), self._options.max_chunk_size, after, attempt]).encode()
            nuid = hashlib.sha256(seed).hexdigest()[:22]
            last = await self._last(object_chunks(self.bucket, name, nuid))
            if last is None:
                return nuid, 0
            if _ROLLUP not in last.headers:
                return nuid, int(last.headers["Nats-Msg-Id"].rpartition(".")[2]) + 1
            attempt += 1

    async def _upload(self, info: ObjectInfo, source: Path | bytes, stored: int) -> None:
        """Send the chunks behind the first `stored` ones, several in flight, in order."""
        subject, window = object_chunks(self.bucket, info.name, info.nuid), asyncio.Semaphore(IN_FLIGHT)
        digests = info.chunk_digests
        sequences: dict[int, int] = {}

        async def send(number: int, chunk: bytes) -> None:
            try:
                headers = {"Nats-Msg-Id": f"{info.nuid}.{number}"}
                sequences[number] = await self._publisher.store(subject, chunk, headers)
            finally:
                window.release()

        chunks = chunks_of(source, self._options.max_chunk_size, stored)
        try:
            async with asyncio.TaskGroup() as sending:
                for number, digest in enumerate(digests[stored:], stored):
                    await window.acquire()
                    chunk = await asyncio.to_thread(next, chunks, b"")
                    if hashlib.sha256(chunk).digest() != digest:
                        raise ObjectChangedError(f"the source of {info.name} was written to while it was put")
                    sending.create_task(send(number, chunk))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        in_order = [sequences[number] for number in sorted(sequences)]
        if in_order != sorted(in_order):  # a chunk was refused for a moment, and those behind it were not
            await self._drop_chunks(info.name, info.nuid)
            raise ObjectDamagedError(info.name, stored, "was overtaken by a later one; put it again")

    async def _sequence_of(self, info: ObjectInfo, number: int) -> int:
        """Where a chunk is: chunks of other uploads may lie in between, so it is so far on, or further."""
        at = info.first_sequence + number
        while True:
            page = await self._page(info, at - 1, 1)
            if not page:
                raise ObjectIncompleteError(info.name, number, info.chunks)
            missing = number - _number_of(info, page[0])
            if missing == 0:
                return page[0].sequence
            if missing < 0:
                raise ObjectDamagedError(info.name, number, f"is missing, and {page[0].position} comes instead")
            at = page[0].sequence + missing

    async def _page(self, info: ObjectInfo, after: int, most: int) -> list[StoredMessage]:
        subject = object_chunks(self.bucket, info.name, info.nuid)
        page = await history.first_messages(self._link.client, self._stream, subject, after, most)
        if page and _ROLLUP in page[0].headers:
            raise ObjectChangedError(f"{info.name} was replaced or deleted")
        return page

    async def _first(self, info: ObjectInfo) -> int:
        page = await self._page(info, 0, 1) if info.chunks else []
        return page[0].sequence if page else 1

    async def _last(self, subject: str) -> StoredMessage | None:
        return await history.last_message(self._link.client, self._stream, subject)

    async def _describe(self, info: ObjectInfo, id: str) -> None:
        subject = object_description(self.bucket, info.name)
        await self._publisher.store(subject, msgspec.json.encode(info), {"Nats-Msg-Id": id, _ROLLUP: "sub"})

    async def _end_replacing(self, info: ObjectInfo) -> None:
        """Drop the chunks of the version before, also where the process that put this one ended before it did."""
        nuid = info.metadata.get("replaces", "")
        last = await self._last(object_chunks(self.bucket, info.name, nuid)) if nuid else None
        if last is not None and _ROLLUP not in last.headers:
            await self._drop_chunks(info.name, nuid)

    async def _drop_chunks(self, name: str, nuid: str) -> None:
        """A message that replaces all others of its subject: unlike a purge it reaches the mirrors. It has no id, as it
        may be needed twice, and twice is the same as once."""
        await self._publisher.store(object_chunks(self.bucket, name, nuid), b"", {_ROLLUP: "sub"})


def _number_of(info: ObjectInfo, stored: StoredMessage) -> int:
    """The number of the chunk, from its id. Raises `ObjectChangedError` where it is none any more."""
    nuid, _, number = stored.headers.get("Nats-Msg-Id", "").partition(".")
    if nuid != info.nuid or not number.isdecimal():
        raise ObjectChangedError(f"{info.name} was replaced or deleted")
    return int(number)
