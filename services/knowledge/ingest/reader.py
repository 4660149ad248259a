"""Reads files in a process of its own, which may take so long and so much memory and no more.

Promises that a file that hangs or crashes the reading is named like any other that cannot be read. Next: worker.py.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

import msgspec
from cachetools import LRUCache

from tidegate.brokers.process.child_environment import plain_environment
from tidegate.services.knowledge.ingest.errors import FileUnreadError
from tidegate.services.knowledge.ingest.parts import IngestedText
from tidegate.services.knowledge.ingest.worker import LENGTH, ReadOutcome, ReadProgress, send

MOST_SECONDS = 60.0
MOST_PAGE_SECONDS = 180.0
"""For a page whose text is recognised: it takes at most 20 s of a core, which other work may hold up."""
_MOST_CACHED_CHARACTERS = 32_000_000
_CHUNK_BYTES = 1 << 20
_FileState = tuple[str, int, int, int, int]
_DECODER: msgspec.msgpack.Decoder[ReadOutcome | ReadProgress] = msgspec.msgpack.Decoder(ReadOutcome | ReadProgress)
_cache: LRUCache[_FileState, IngestedText] = LRUCache(_MOST_CACHED_CHARACTERS, getsizeof=lambda read: len(read.text))
"""What this process has read: making a pack, checking it and loading it read the same files."""
_failures: LRUCache[tuple[_FileState, float], tuple[str, str]] = LRUCache(4096)
"""Why a file could not be read in so many seconds: one that takes all of them would take them each time."""


class DocumentReader:
    """Reads one file after the other. Used as a context manager, by one thread at a time."""

    def __init__(
        self, most_seconds: float = MOST_SECONDS, on_page: Callable[[str], None] = lambda _detail: None
    ) -> None:
        """`most_seconds` are for a file; a page whose text is recognised has `MOST_PAGE_SECONDS`, and `on_page` hears
        of it."""
        self._most_seconds = most_seconds
        self._on_page = on_page
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def read(self, path: Path) -> IngestedText:
        """The document in a file, as Markdown. Raises `FileUnreadError`."""
        state = _state_of(path)
        found = _cache.get(state) if state else None
        if found is not None:
            return found
        failed = _failures.get((state, self._most_seconds)) if state else None
        if failed is not None:
            raise FileUnreadError(*failed)
        try:
            found = self._ask(path)
        except FileUnreadError as error:
            if state:
                _failures[state, self._most_seconds] = (error.reason, error.hint)
            raise
        if state and len(found.text) < _MOST_CACHED_CHARACTERS:
            _cache[state] = found
        return found

    def _ask(self, path: Path) -> IngestedText:
        process = self._process = self._process or _start()
        seconds = self._most_seconds
        try:
            send(cast("BinaryIO", process.stdin), os.fsencode(path.absolute()))
            while isinstance(message := _DECODER.decode(_receive(process, seconds)), ReadProgress):
                seconds = max(seconds, MOST_PAGE_SECONDS)
                self._on_page(f"{path.name}: page {message.done + 1} of {message.pages}")
            if message.text is None:
                raise FileUnreadError(message.reason, message.hint)
            return message.text
        except TimeoutError:
            reason, hint = f"reading it takes longer than {seconds:g} seconds", "split it, or save it again"
        except (EOFError, BrokenPipeError):
            reason, hint = "reading it ends the program that reads", FileUnreadError.hint
        self._stop()
        raise FileUnreadError(reason, hint)

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        process.wait()


def _receive(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """The next message. Raises `TimeoutError`, and `EOFError` where the process ended."""
    assert process.stdout is not None
    deadline = time.monotonic() + seconds
    received = bytearray()
    wanted = LENGTH.size
    while len(received) < wanted:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise TimeoutError
        data = os.read(process.stdout.fileno(), _CHUNK_BYTES)
        if not data:
            raise EOFError
        received += data
        if len(received) >= LENGTH.size:
            wanted = LENGTH.size + LENGTH.unpack_from(received)[0]
    return bytes(received[LENGTH.size :])


def _start() -> subprocess.Popen[bytes]:
    """Without the working directory on its path: a folder of documents may hold anything, modules too. And without the
    secrets of this process: a file may be made to take over a library that reads it."""
    command = [sys.executable, "-P", "-B", "-m", "tidegate.services.knowledge.ingest.worker"]
    one_thread = {
        **plain_environment(os.environ),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }  # of libraries that it may load
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=one_thread)


def _state_of(path: Path) -> _FileState | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return str(path.absolute()), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
