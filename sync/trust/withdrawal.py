"""Deletes of a repository's directory what it no longer publishes, once no site can be in the middle of fetching it.

What is published, and what was withdrawn lately, is never touched; a crash leaves some of it for the next time.
Next: repository.py, which publishes; targets.py, the names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from tidegate.schemas.artefact import ArtefactManifest
from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.message import decode
from tidegate.schemas.sync import SnapshotChunk, SnapshotManifest
from tidegate.schemas.trust import KeyRegister
from tidegate.sync.trust.chunks import CHUNKS
from tidegate.sync.trust.files import replace_file
from tidegate.sync.trust.metadata import METADATA
from tidegate.sync.trust.repository import Repository
from tidegate.sync.trust.targets import TargetManifest, blob_name, path_of

KEPT_MS = 3_600_000
"""How long what was withdrawn can still be fetched."""
KEPT_VERSIONS = 8
"""Of the snapshot and the targets, for a site that has read the timestamp before the last ones."""


class KeptTarget(msgspec.Struct, frozen=True):
    """A manifest that a repository still has, by its target and the digest of its bytes, and the chunks it names."""

    path: str
    digest: str
    chunks: tuple[SnapshotChunk, ...] = ()


class Withdrawals:
    """What a repository has withdrawn, since when, and what it still keeps; in one file beside it."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._directory = repository.directory
        self._file = repository.directory / "withdrawn.json"

    def collect(self, now_ms: int, kept_ms: int = KEPT_MS) -> tuple[KeptTarget, ...]:
        """Delete what was withdrawn `kept_ms` before or earlier; returns all that is kept, published or not.

        Chunks that no manifest names are kept as long after they were stored: a snapshot in the making. Raises what
        `Repository.state` raises, `OSError`.
        """
        with self._repository.changing():
            return self._collect(now_ms, kept_ms)

    def _collect(self, now_ms: int, kept_ms: int) -> tuple[KeptTarget, ...]:
        state = self._repository.state()
        published = {blob_name(target) for target in state.targets.targets.values()}
        since = self._since()
        withdrawn: dict[str, int] = {}
        kept: list[KeptTarget] = []
        for name in self._blobs():
            if name not in published:
                withdrawn[name] = since.get(name, now_ms)
                if now_ms - withdrawn[name] >= kept_ms:
                    (self._directory / name).unlink(missing_ok=True)
                    del withdrawn[name]
                    continue
            kept.append(read_kept(self._directory / name))
        if withdrawn != since:
            replace_file(self._file, msgspec.json.encode(withdrawn))
        self._collect_chunks({chunk.digest for target in kept for chunk in target.chunks}, now_ms - kept_ms)
        self._collect_metadata(state.snapshot.version, state.targets.version)
        return tuple(kept)

    def _since(self) -> dict[str, int]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, int])
        except (FileNotFoundError, msgspec.DecodeError):  # what is withdrawn is then kept a while longer
            return {}

    def _blobs(self) -> Iterator[str]:
        for path in sorted((self._directory / "targets").rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                yield path.relative_to(self._directory).as_posix()

    def _collect_chunks(self, named: set[str], before_ms: int) -> None:
        for path in (self._directory / CHUNKS).glob("*"):
            if path.name not in named and path.stat().st_mtime * 1000 <= before_ms:
                path.unlink(missing_ok=True)

    def _collect_metadata(self, snapshot: int, targets: int) -> None:
        for role, newest in (("snapshot", snapshot), ("targets", targets)):
            for path in (self._directory / METADATA).glob(f"*.{role}.json"):
                version = path.name.partition(".")[0]
                if version.isdecimal() and int(version) <= newest - KEPT_VERSIONS:
                    path.unlink(missing_ok=True)


def read_kept(path: Path) -> KeptTarget:
    """The manifest in a file of a repository. Raises `UnreadableError`, `OSError`."""
    try:
        manifest: TargetManifest = decode(path.read_bytes(), ArtefactManifest, SnapshotManifest, KeyRegister)
    except UnreadableError as error:
        raise UnreadableError(f"{path}: {error}", "restore the repository from a backup, or delete the file") from error
    chunks = () if isinstance(manifest, KeyRegister) else manifest.chunks
    return KeptTarget(path_of(manifest), path.name.partition(".")[0], chunks)
