"""The process in which files are read: a fault of a library, or of a file made to hurt it, ends nothing else.

It gets paths on stdin and gives progress and outcomes on stdout, each with its length before it; it writes no file,
and starts no other process. Next: reader.py, which holds the other end.
"""

from __future__ import annotations

import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from tidegate.services.knowledge.ingest.errors import FileUnreadError
from tidegate.services.knowledge.ingest.parts import IngestedText
from tidegate.services.knowledge.ingest.read import read_file

MOST_MEMORY_BYTES = 3 * 2**30
LENGTH = struct.Struct(">I")


class ReadProgress(msgspec.Struct, frozen=True, tag=True):
    """Another page is about to be recognised: `done` of `pages` were."""

    done: int
    pages: int


class ReadOutcome(msgspec.Struct, frozen=True, omit_defaults=True, tag=True):
    """What came of a file: its text, or why there is none and what to do."""

    text: IngestedText | None = None
    reason: str = ""
    hint: str = ""


def main() -> None:
    """Read files until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which closes stdin
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # what libraries print is no outcome
    os.dup2(nowhere, 2)
    _bound()
    while (path := receive(requests)) is not None:
        outcome = _read(
            Path(os.fsdecode(path)),
            lambda done, pages: send(answers, msgspec.msgpack.encode(ReadProgress(done, pages))),
        )
        send(answers, msgspec.msgpack.encode(outcome))


def send(stream: BinaryIO, data: bytes) -> None:
    """Write one message."""
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: BinaryIO) -> bytes | None:
    """The next message; None where there is none any more."""
    head = stream.read(LENGTH.size)
    return stream.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else None


def _read(path: Path, on_page: Callable[[int, int], None]) -> ReadOutcome:
    try:
        return ReadOutcome(text=read_file(path, on_page))
    except FileUnreadError as error:
        return ReadOutcome(reason=error.reason, hint=error.hint)
    except MemoryError:
        return ReadOutcome(reason="reading it takes more memory than it may", hint="split it")
    except RecursionError:
        return ReadOutcome(reason="it is nested too deep to be read", hint=FileUnreadError.hint)
    except Exception as error:  # noqa: BLE001 - libraries raise anything for broken files; the parent names the file
        kind = f"{type(error).__name__}: {error}".strip(": ")[:200]
        return ReadOutcome(reason=f"it is broken ({kind})", hint=FileUnreadError.hint)


def _bound() -> None:
    for limit, most in (
        (resource.RLIMIT_AS, MOST_MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        with suppress(ValueError, OSError):  # macOS knows some limits and lets none be set
            resource.setrlimit(limit, (most if hard < 0 else min(most, hard), hard))


if __name__ == "__main__":
    main()
