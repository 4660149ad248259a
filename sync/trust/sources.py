"""Where a site reads a repository from, and how python-tuf reads it there.

A directory is one: a copy of the hub's, on a medium that was carried. Next: chunks.py, `BlobSource`; client.py."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface

from tidegate.schemas.errors import TidegateError
from tidegate.sync.trust.chunks import CHUNK_BYTES, BlobSource
from tidegate.sync.trust.faults import BlobMissingError

NOT_FOUND = 404
"""What python-tuf takes for: there is no newer root."""


class DirectorySource:
    """A repository as the files below a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def read(self, name: str, offset: int, size: int) -> bytes:
        """Part of a file. Raises `BlobMissingError`, also for a name that leads out of the directory; `OSError`."""
        path = Path(name)
        if path.is_absolute() or ".." in path.parts:
            raise BlobMissingError(f"{name} is no name of a blob")
        return await asyncio.to_thread(_read, self._directory / path, offset, size)


class FetchedFile(msgspec.Struct, frozen=True):
    """The last file that was fetched whole: the one that is wrong, where something is."""

    name: str
    data: bytes


class BlobFetcher(FetcherInterface):
    """Reads for python-tuf, in its thread, from a source whose loop runs in another."""

    def __init__(
        self,
        source: BlobSource,
        loop: asyncio.AbstractEventLoop,
        timeout_s: float,
        pinned: Mapping[str, bytes] | None = None,
    ) -> None:
        self._source = source
        self._loop = loop
        self._timeout_s = timeout_s
        self._pinned = pinned or {}
        self.last: FetchedFile | None = None

    def _fetch(self, url: str) -> Iterator[bytes]:
        """The file in pieces. Raises `DownloadHTTPError` where there is none, `DownloadError` where it is cut off."""
        whole = b""
        for piece in [self._pinned[url]] if url in self._pinned else self._pieces(url):
            whole += piece
            self.last = FetchedFile(url, whole)
            yield piece

    def _pieces(self, name: str) -> Iterator[bytes]:
        offset = 0
        while True:
            asked = asyncio.run_coroutine_threadsafe(self._source.read(name, offset, CHUNK_BYTES), self._loop)
            try:
                piece = asked.result(self._timeout_s)
            except BlobMissingError as error:
                raise DownloadHTTPError(str(error), NOT_FOUND) from error
            except (OSError, TidegateError) as error:  # a timeout is an OSError
                asked.cancel()
                raise DownloadError(f"{name}: {error or type(error).__name__}") from error
            yield piece
            offset += len(piece)
            if len(piece) < CHUNK_BYTES:
                return


def _read(path: Path, offset: int, size: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(size)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise BlobMissingError(f"there is no {path.name} in {path.parent}") from error
