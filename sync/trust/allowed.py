"""The digests that sites may state at the hub: of its own code, and of what it ever published. One file; it only grows.

Next: leases.py, which asks for them; attestation.py, which measures."""

from __future__ import annotations

import fcntl
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tidegate.schemas.artefact import ArtefactDescriptor
from tidegate.schemas.errors import UnreadableError
from tidegate.sync.trust.files import PRIVATE, replace_file

CODE, CONFIGURATION, MODELS, POLICIES = "code", "configuration", "models", "policies"
"""The first words of measurements."""


def measurement_of(artefact: ArtefactDescriptor) -> str:
    """The name under which a site states a policy in force."""
    return f"{POLICIES}/{artefact.tenant}/{artefact.name}"


class AllowedDigests:
    """Which digests are allowed, by measurement, in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> dict[str, frozenset[str]]:
        """Raises `UnreadableError`."""
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=dict[str, frozenset[str]])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            raise UnreadableError(f"{self._path}: {error}", "delete it; what the hub publishes is allowed") from error
        return found

    def allow(self, digests: Mapping[str, str]) -> None:
        """Allow these beside those that are. Raises `UnreadableError`, `OSError`."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path.with_name(f".{self._path.name}.lock"), "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self.all()
            after = dict(before)
            for name, digest in digests.items():
                after[name] = after.get(name, frozenset()) | {digest}
            if after != before:
                listed = {name: sorted(each) for name, each in sorted(after.items())}
                replace_file(self._path, msgspec.json.encode(listed), PRIVATE)
