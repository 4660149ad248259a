"""The hub's repository while the hub runs: signs what is published, vouches for it anew, sends it, and tidies up.

What another process changes (`tidegate keys`) is sent too. Next: repository_link.py; trust/repository.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import structlog

from tidegate.schemas.artefact import ArtefactDescriptor, ArtefactManifest
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.message import decode
from tidegate.schemas.sync import SnapshotChunk
from tidegate.schemas.trust import KeyRegister, KeyRole
from tidegate.sync.shells.repository_link import RepositoryUploader
from tidegate.sync.trust.faults import UnknownTargetError
from tidegate.sync.trust.live_keys import LiveKeys
from tidegate.sync.trust.metadata import METADATA
from tidegate.sync.trust.publication import TIMESTAMP
from tidegate.sync.trust.repository import Repository, StoredFile
from tidegate.sync.trust.roles import Signers
from tidegate.sync.trust.targets import TargetManifest, blob_name, path_of
from tidegate.sync.trust.withdrawal import KEPT_MS, Withdrawals

SIGNING: tuple[KeyRole, ...] = ("targets", "snapshot", "timestamp")
"""The roles whose private keys the hub needs while it runs; those of the root lie offline."""
LOOK_EVERY_S = 0.2
COLLECT_EVERY_S = 600.0
log = structlog.get_logger()


class HubRepository:
    """Every change is signed with the keys that are good at that moment, and in the stores when its call returns."""

    def __init__(
        self, repository: Repository, keys: LiveKeys, uploader: RepositoryUploader, now_ms: Callable[[], int]
    ) -> None:
        self.repository = repository
        self.now_ms = now_ms
        self.fault = ""
        """Why the last signature or transfer failed; empty: it did not."""
        self._keys = keys
        self._uploader = uploader
        self._withdrawals = Withdrawals(repository)
        self._sent: tuple[int, int] | None = None

    async def publish(self, manifests: Sequence[TargetManifest], withdrawn: Collection[str] = ()) -> None:
        """Publish manifests whose chunks are stored. Raises as `Repository.publish` and `RepositoryUploader.upload` do,
        and `KeysMissingError`, `PassphraseError`."""
        paths = [path_of(manifest) for manifest in manifests]
        for path, manifest in zip(paths, manifests, strict=True):
            if not isinstance(manifest, KeyRegister):
                await self._uploader.put_chunks(path, manifest.chunks)
        await self._sign(lambda signers, now_ms: self.repository.publish(manifests, signers, now_ms, withdrawn), paths)

    async def publish_file(self, artefact: ArtefactDescriptor, path: Path, *, is_prepared: bool = False) -> None:
        """Publish a file of this machine as an artefact. Raises `MixedUpTargetError` where its bytes are others than
        the descriptor says, and as `publish` does."""
        stored = await asyncio.to_thread(self._store, path)
        if (stored.digest, stored.size) != (artefact.digest, artefact.size):
            raise ArtefactChangedError(f"{path} was written to while it was published")
        await self.publish([ArtefactManifest(artefact=artefact, chunks=stored.chunks, is_prepared=is_prepared)])

    def manifest(self, path: str) -> ArtefactManifest:
        """The manifest of an artefact that is published. Raises `UnknownTargetError`, `OSError`, and as
        `Repository.state` does."""
        target = self.repository.state().targets.targets.get(path)
        if target is None:
            raise UnknownTargetError(f"nothing is published as {path}")
        return decode((self.repository.directory / blob_name(target)).read_bytes(), ArtefactManifest)

    async def put_chunk(self, path: str, chunk: SnapshotChunk, data: bytes) -> None:
        """Store a chunk of a target that is to be published. Raises as `Repository.put_chunk` and `ObjectStore.put`
        do."""
        await asyncio.to_thread(self.repository.put_chunk, chunk, data)
        await self._uploader.put_chunks(path, [chunk])

    async def publish_register(self) -> None:
        """Publish the keys that sites judge by, as they are now. Raises as `publish` does."""
        await self.publish([self._keys.store.published()])

    async def renew(self) -> None:
        """Vouch that what is published is the present state. Raises as `publish` does."""
        await self._sign(self.repository.renew)

    async def collect(self, kept_ms: int = KEPT_MS) -> int:
        """Delete what was withdrawn long ago, here and in every mirror; how many objects. Raises `OSError`, and as
        `Repository.state` and `ObjectStore.delete` do."""
        kept = await asyncio.to_thread(self._withdrawals.collect, self.now_ms(), kept_ms)
        return await self._uploader.delete_all_but(kept)

    async def keep(self, timestamp_every_s: float) -> None:
        """Vouch, and send what is new, for ever; what fails is tried again, and is `fault` meanwhile."""
        vouch_at_s = 0.0
        while True:
            try:
                if time.monotonic() >= vouch_at_s:
                    await self.renew()
                    vouch_at_s = time.monotonic() + timestamp_every_s
                elif self._sent != self._newest():
                    await self._send()
                self.fault = ""
            except (TidegateError, OSError) as error:
                if str(error) != self.fault:
                    log.warning("repository_not_sent", reason=str(error))
                self.fault = str(error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def keep_tidy(self) -> None:
        """End transfers that were cut, and delete what was withdrawn, for ever."""
        while True:
            try:
                await self._uploader.upload_bulk()
                await self.collect()
            except (TidegateError, OSError) as error:
                log.warning("repository_not_collected", reason=str(error))
            await asyncio.sleep(COLLECT_EVERY_S)

    async def _sign(self, change: Callable[[Signers, int], None], paths: Sequence[str] = ()) -> None:
        def sign() -> None:
            now_ms = self.now_ms()
            change(self._keys.signers(SIGNING, now_ms), now_ms)

        await asyncio.to_thread(sign)
        await self._send(paths)

    async def _send(self, paths: Sequence[str] = ()) -> None:
        newest = self._newest()
        await self._uploader.upload(paths)
        self._sent = newest

    def _newest(self) -> tuple[int, int] | None:
        try:
            found = (self.repository.directory / METADATA / TIMESTAMP).stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino

    def _store(self, path: Path) -> StoredFile:
        with open(path, "rb") as file:
            return self.repository.store(file)


class ArtefactChangedError(TidegateError):
    """A file was written to while it was published; nothing of it is published."""

    hint = "publish it again when nobody writes to it"
