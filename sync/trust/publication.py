"""What a repository publishes at one moment: its targets, and its metadata files in the order in which they are sent.

A root that takes a key away comes behind what that key no longer vouches for; the timestamp is the last. Next:
repository.py; sync/shells/repository_link.py, which sends them."""

from __future__ import annotations

from pathlib import Path

import msgspec
from tuf.api.metadata import TargetFile

from tidegate.sync.trust.metadata import METADATA
from tidegate.sync.trust.repository import Repository

TIMESTAMP = "timestamp.json"


class Publication(msgspec.Struct, frozen=True):
    """One state of a repository. `files` are named as in its folder of metadata."""

    targets: dict[str, TargetFile]
    files: dict[str, bytes]


def read_publication(repository: Repository) -> Publication:
    """The present state, all of one moment. Raises what `Repository.state` raises, `OSError`."""
    with repository.changing():
        state = repository.state()
        metadata = repository.directory / METADATA
        *roots, newest = sorted(metadata.glob("*.root.json"), key=_version)
        names = [
            *(path.name for path in roots),
            f"{state.targets.version}.targets.json",
            f"{state.snapshot.version}.snapshot.json",
            newest.name,
            TIMESTAMP,
        ]
        return Publication(dict(state.targets.targets), {name: (metadata / name).read_bytes() for name in names})


def _version(path: Path) -> int:
    return int(path.name.partition(".")[0])
