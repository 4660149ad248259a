"""What is in force at a site, as directories that never change: one for each generation, and a pointer to the present.

1. A generation is whole, verified and on disk before the pointer names it; a crash leaves the old one or the new one.
2. The pointer is one file, replaced by rename; a reader that has opened a generation keeps what it has read.
3. Generations that a request may still be pinned to are kept: the last `KEPT`, and what ended less than `HELD_S` ago.

Next: active.py, what stages read of it; services/fleet/apply.py, which makes generations."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tidegate.schemas import TidegateError
from tidegate.services.packs.parts import PackPart, digest_parts, write_parts
from tidegate.sync.trust.files import flush_folder, replace_file

KEPT = 3
HELD_S = 3600.0
"""Longer than any request may take; the longest budget is ten minutes."""
_POINTER, _RECORD, _DRAFT = "current", "generation.json", ".draft-"

MakeFromParts = Callable[[Path, "GenerationRecord | None"], Mapping[str, str]]
"""Adds to the draft of a generation what is made of its parts, given what was in force before; what that was made of.
Raises what keeps the generation from coming into force."""
CheckDraft = Callable[[Path, "GenerationRecord"], None]
"""Reads a draft as the stages will; raises what they would raise."""


class GenerationDamagedError(TidegateError, OSError):
    """A generation that is in force cannot be read: its files were changed, or its disk fails."""

    hint = "check the disk; activate the artefacts anew with `tidegate sync repair`"


class GenerationGoneError(TidegateError, LookupError):
    """The request was screened under what was in force so long ago that it is no longer held."""

    hint = "ask again: the question is answered by what is in force now"


class GenerationRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One generation: the digest of its parts, the epoch of each by `kind/name`, and what the files beside the parts
    were made of."""

    number: int
    digest: str
    epochs: dict[str, int]
    made_at_ms: int
    made_of: dict[str, str] = {}


class GenerationStore:
    """The generations of one tenant in `directory`. Any process may read; one at a time activates."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pointer = directory / _POINTER

    def current(self) -> GenerationRecord | None:
        """What is in force; None where nothing ever was. Raises `GenerationDamagedError`, `GenerationGoneError`."""
        try:
            number = int(self.pointer.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise GenerationDamagedError(f"{self.pointer}: {error}") from error
        return self.record(number)

    def usable(self) -> GenerationRecord | None:
        """What is in force; None too where that is damaged or gone, for then it is to be replaced."""
        try:
            return self.current()
        except (GenerationDamagedError, GenerationGoneError):
            return None

    def record(self, number: int) -> GenerationRecord:
        """A generation that was activated. Raises `GenerationGoneError`, `GenerationDamagedError`."""
        path = self.path(number)
        if not path.is_dir():
            raise GenerationGoneError(f"generation {number} is not held in {self.directory}")
        try:
            return msgspec.json.decode((path / _RECORD).read_bytes(), type=GenerationRecord)
        except (OSError, msgspec.DecodeError) as error:
            raise GenerationDamagedError(f"{path}: {error}") from error

    def held(self) -> list[GenerationRecord]:
        """All generations that are here, oldest first. Raises `GenerationDamagedError`."""
        return [self.record(number) for number in self._numbers()] if self.directory.is_dir() else []

    def path(self, number: int) -> Path:
        """The directory of a generation."""
        return self.directory / str(number)

    def activate(
        self, parts: Sequence[PackPart], epochs: Mapping[str, int], make: MakeFromParts, verify: CheckDraft
    ) -> int:
        """Bring these parts into force, with what is made of them; the number of the generation. Numbers only grow.

        What was in force stays so where anything of it raises: what `write_parts`, `make` and `verify` raise, and
        `OSError`.
        """
        with self._writing():
            before = self.usable()
            number = 1 + max([*self._numbers(), before.number if before else 0])
            draft = self.directory / f"{_DRAFT}{number}"
            try:
                draft.mkdir()
                write_parts(parts, draft)
                record = GenerationRecord(
                    number=number,
                    digest=digest_parts(parts),
                    epochs=dict(sorted(epochs.items())),
                    made_at_ms=int(time.time() * 1000),
                    made_of=dict(make(draft, before)),
                )
                verify(draft, record)
                (draft / _RECORD).write_bytes(msgspec.json.format(msgspec.json.encode(record)))
                _flush_tree(draft)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
            draft.rename(self.path(number))
            flush_folder(self.directory)
            if before is not None:
                os.utime(self.path(before.number))  # how long ago it ended, for `_remove_old`
            replace_file(self.pointer, str(number).encode())
            self._remove_old(number)
            return number

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Be the only one that activates; what a writer that was killed left is removed."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with open(self.directory / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for draft in self.directory.glob(f"{_DRAFT}*"):
                shutil.rmtree(draft)
            yield

    def _numbers(self) -> list[int]:
        return sorted(int(path.name) for path in self.directory.iterdir() if path.name.isdecimal())

    def _remove_old(self, current: int) -> None:
        for number in self._numbers():
            is_held = time.time() - self.path(number).stat().st_mtime < HELD_S
            if number <= current - KEPT and not is_held:
                shutil.rmtree(self.path(number))


def _flush_tree(root: Path) -> None:
    """Everything below a folder, on disk when this returns."""
    for folder, _, files in os.walk(root):
        for name in files:
            descriptor = os.open(Path(folder) / name, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        flush_folder(Path(folder))
