"""Publishes what reaches sites besides documents: parts of a pack, policies, prompts, weights.

The hub's sync worker reads a file of this machine, signs and sends it; whatever is written for it is removed again.
Next: publishing.py, a whole pack; sync/shells/replica_client.py."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from tidegate.schemas import ArtefactPublished, PublishArtefact, TidegateError
from tidegate.schemas.artefact import ArtefactKind, Rung
from tidegate.schemas.switch import Switch
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.packs.documents import make_slug
from tidegate.services.packs.parts import PackPart
from tidegate.services.packs.weights import write_weights
from tidegate.services.policies.language import load_policies
from tidegate.services.settings import Settings
from tidegate.sync.shells.replica_client import ReplicaClient

MOST_PROMPT_CHARACTERS = 4000
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class PromptUnusableError(TidegateError, ValueError):
    """The file is no prompt: it is empty, too long, or no text."""

    hint = f"write 1 to {MOST_PROMPT_CHARACTERS} characters of UTF-8"


class ArtefactTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Under which terms an artefact is published: in two phases where `is_critical`; how long after it was last known
    to be current it may be used; and the digests of the models that an adapter fits."""

    is_critical: bool = False
    soft_s: int = 7 * 86_400
    hard_s: int = 30 * 86_400
    at_hard: Rung = "evidence-only"
    base_digests: tuple[str, ...] = ()


def name_of_file(file: Path) -> str:
    """The name of the artefact that a file, or a folder, is published as: its own, as far as that can be one."""
    return file.stem if _NAME.fullmatch(file.stem) else make_slug(file.stem)


def check_policy(file: Path) -> None:
    """Raises `PolicyError` for a policy that could not be put in force, `OSError`."""
    load_policies([file])


def check_prompt(file: Path) -> None:
    """Raises `PromptUnusableError`, `OSError`."""
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise PromptUnusableError(f"{file} is not UTF-8") from error
    if not 0 < len(text.strip()) <= MOST_PROMPT_CHARACTERS:
        raise PromptUnusableError(f"{file} has {len(text.strip())} characters")


class PartPublisher:
    """Publishes artefacts of one tenant at the hub."""

    def __init__(self, client: ReplicaClient, hub: Settings, tenant: str) -> None:
        self._client = client
        self._home = StatePaths(hub).home
        self._tenant = tenant

    async def publish_file(self, kind: ArtefactKind, name: str, file: Path, terms: ArtefactTerms) -> ArtefactPublished:
        """Publish a file. Raises `SyncWorkerMissingError`, `ReplicaRefusedError`."""
        path = str(await asyncio.to_thread(file.resolve))
        request = PublishArtefact(tenant=self._tenant, kind=kind, name=name, path=path, **msgspec.structs.asdict(terms))
        return await self._client.publish(request)

    async def publish_switch(self, switch: Switch) -> ArtefactPublished:
        """Publish a switch to evidence-only as the next epoch of its scope. Raises as `publish_file` does."""
        async with self._scratch() as scratch:
            file = scratch / f"{switch.name}.json"
            await asyncio.to_thread(file.write_bytes, msgspec.json.encode(switch))
            return await self.publish_file("switch", switch.name, file, ArtefactTerms())

    async def publish_weights(
        self, kind: ArtefactKind, name: str, directory: Path, terms: ArtefactTerms
    ) -> ArtefactPublished:
        """Publish a folder as one file. Raises `WeightsFolderError`, and as `publish_file` does."""
        async with self._scratch() as scratch:
            file = scratch / f"{name}.tar"
            await asyncio.to_thread(_write, directory, file)
            return await self.publish_file(kind, name, file, terms)

    async def publish_parts(
        self, parts: Sequence[PackPart], terms: ArtefactTerms, progress: ProgressReporter
    ) -> tuple[ArtefactPublished, ...]:
        """Publish parts of a pack, policies first; only policies are critical. Raises as `publish_file` does."""
        published: list[ArtefactPublished] = []
        progress.start("publishing policies and other parts", len(parts))
        async with self._scratch() as scratch:
            for part in sorted(parts, key=lambda each: (each.kind != "policy", each.kind, each.name)):
                file = scratch / f"{part.kind}.{part.name}"
                await asyncio.to_thread(file.write_bytes, part.data)
                is_critical = terms.is_critical and part.kind == "policy"
                own = msgspec.structs.replace(terms, is_critical=is_critical)
                published.append(await self.publish_file(part.kind, part.name, file, own))
                progress.step(f"{part.kind} {part.name}")
        return tuple(published)

    @contextlib.asynccontextmanager
    async def _scratch(self) -> AsyncIterator[Path]:
        """A folder below the hub's, where its sync worker can read, and which is gone afterwards."""
        await asyncio.to_thread(self._home.mkdir, parents=True, exist_ok=True)
        scratch = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=".publishing-", dir=self._home))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _write(directory: Path, file: Path) -> None:
    with file.open("wb") as target:
        write_weights(directory, target)
