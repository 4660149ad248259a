"""A hub that publishes, with its keys, and a site that believes it: real keys and files, and time as it is passed."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from securesystemslib.signer import CryptoSigner

from tests.support.sync_samples import DIGEST
from tidegate.schemas import (
    ArtefactDescriptor,
    ArtefactManifest,
    LogPosition,
    SnapshotManifest,
    StalenessBudget,
    TrustedKey,
)
from tidegate.schemas.artefact import ArtefactKind
from tidegate.sync.rules.staleness import Now
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.keys import KeyStore
from tidegate.sync.trust.repository import Repository
from tidegate.sync.trust.roles import TUF_ROLES, RoleKeys, Signers, TufRole
from tidegate.sync.trust.sources import DirectorySource

NOW = 1_790_000_000_000
DAY = 86_400_000
BUDGET = StalenessBudget(soft_s=3600, hard_s=2 * 86_400, at_hard="evidence-only", closed_s=30 * 86_400)
BOOT = "ab" * 8
POLICY = "artefacts/kiosk/policy/default"


def at(now_ms: int, wall_ms: int | None = None) -> Now:
    """A machine that started at `NOW`, in the boot that it is in; its wall clock is right unless it is given."""
    return Now(boot_id=BOOT, monotonic_ms=now_ms - NOW, wall_ms=now_ms if wall_ms is None else wall_ms)


def describe(
    data: bytes, epoch: int = 1, kind: ArtefactKind = "policy", name: str = "default", bases: Sequence[str] = ()
) -> ArtefactDescriptor:
    """The descriptor of an artefact with these bytes."""
    return ArtefactDescriptor(
        tenant="kiosk",
        kind=kind,
        name=name,
        digest=sha256(data).hexdigest(),
        size=len(data),
        epoch=epoch,
        budget=BUDGET,
        base_digests=tuple(bases),
    )


def publish_bytes(
    repository: Repository, artefact: ArtefactDescriptor, data: bytes, signers: Signers, now_ms: int
) -> None:
    """Publish an artefact with these bytes."""
    stored = repository.store(io.BytesIO(data))
    repository.publish([ArtefactManifest(artefact=artefact, chunks=stored.chunks)], signers, now_ms)


class TrustHub:
    """A repository below `directory`, with two keys for the timestamp where `threshold` is 2."""

    def __init__(self, directory: Path, thresholds: dict[TufRole, int] | None = None, now_ms: int = NOW) -> None:
        self.keys = KeyStore(directory / "keys")
        self.repository = Repository(directory / "repository")
        self.files = directory / "repository"
        roles: dict[TufRole, RoleKeys] = {}
        for role in TUF_ROLES:
            threshold = (thresholds or {}).get(role, 1)
            keys = tuple(self.keys.generate(role, "hub", now_ms) for _ in range(threshold))
            roles[role] = RoleKeys(keys, threshold)
        self.root = self.repository.create(roles, self.signers(), now_ms)

    def signers(self, *left_out: str) -> dict[str, CryptoSigner]:
        """All private keys of the hub, except those of these roles or ids."""
        keys = [key for key in self.keys.register().keys if not {key.role, key.key_id} & set(left_out)]
        return {key.key_id: self.keys.signer(key.key_id, NOW) for key in keys if not key.revoked_at_ms}

    def key(self, role: TufRole) -> TrustedKey:
        """The newest key of a role."""
        return self.keys.good(role, "hub", NOW)[0]

    def publish(self, data: bytes, epoch: int = 1, now_ms: int = NOW, name: str = "default") -> ArtefactDescriptor:
        """Publish a policy."""
        artefact = describe(data, epoch, name=name)
        publish_bytes(self.repository, artefact, data, self.signers(), now_ms)
        return artefact

    def publish_snapshot(self, data: bytes, index: int, chunk_bytes: int, now_ms: int = NOW) -> SnapshotManifest:
        """Publish a snapshot of a collection at this position of its log."""
        stored = self.repository.store(io.BytesIO(data), chunk_bytes)
        manifest = SnapshotManifest(
            tenant="kiosk",
            collection="branch-notices",
            position=LogPosition(1, index),
            checksum=DIGEST,
            root=DIGEST,
            documents=index,
            size=len(data),
            chunks=stored.chunks,
        )
        self.repository.publish([manifest], self.signers(), now_ms)
        return manifest

    def client(self, directory: Path) -> RepositoryClient:
        """A site that was provisioned with the first root, and reads the repository's own directory."""
        client = RepositoryClient(directory, DirectorySource(self.files), timeout_s=5)
        client.provision(self.root)
        return client

    def copy(self, directory: Path) -> Path:
        """The repository as it is now, carried elsewhere."""
        shutil.copytree(self.files, directory)
        return directory

    def metadata(self) -> Sequence[str]:
        """The names of its metadata files."""
        return sorted(path.name for path in (self.files / "metadata").glob("*.json"))
