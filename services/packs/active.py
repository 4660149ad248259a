"""What is in force of a tenant's pack, as stages read it: one generation for each request, the newest for the next one.

1. No request waits for a new generation to be loaded: it is loaded beside them, in a thread, and then seen.
2. A request goes on with the generation that it began with, in every stage, in whatever process.

Next: generations.py, which brings one into force; services/fleet/tenant_parts.py, by tenant."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import structlog
from cachetools import LRUCache

from tidegate.brokers.process.tasks import end_tasks
from tidegate.schemas import Artefact, digest_of
from tidegate.schemas.pack import PackReply
from tidegate.services.knowledge.index.thesaurus import FILE as THESAURUS
from tidegate.services.knowledge.index.thesaurus import Thesaurus, read_groups
from tidegate.services.knowledge.intent_classifier import IntentHead
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.knowledge.reader.effort import Effort
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.tuning import find_tuning
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.packs.findings import PackFindings
from tidegate.services.packs.generations import GenerationRecord, GenerationStore
from tidegate.services.packs.load import load_replies
from tidegate.services.packs.pointer_watch import PointerLook, PointerWatch, look_at, watching_pointer
from tidegate.services.packs.prompts import read_prompts
from tidegate.services.policies.files import list_policies
from tidegate.services.policies.language import load_policies, load_versions
from tidegate.services.policies.policy import Policy
from tidegate.services.privacy.dlp.published import PublishedText

POLL_S = 0.05
REMEMBERED = 8
"""Generations of which a stage keeps what it made: requests are pinned to the newest, and seldom to others."""
INTENT_HEAD, PUBLISHED, CALIBRATION = "intent.safetensors", "published.txt", "calibration.json"
"""What is made of a generation's parts, and lies beside them."""

P = TypeVar("P")
_LOADER = ThreadPoolExecutor(1, "generations")
_log = structlog.get_logger()


@dataclass(frozen=True)
class MadeFiles:
    """Where what was made of a pack lies; `tuned_calibration` is that of a reader with weights of the tenant's own."""

    intent_head: Path
    published: Path
    calibration: Path
    tuned_calibration: Path


class SitePrompt(NamedTuple):
    """A prompt, and how receipts name it."""

    part: Artefact
    text: str


@dataclass(frozen=True)
class PackInForce:
    """A pack as the stages read it: a generation that is in force, or, with number 0, the folder of a pack.

    What it gives never changes; each thing is read when it is first asked for.
    """

    tenant: str
    directory: Path
    made: MadeFiles
    number: int = 0
    digest: str = ""
    epochs: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of_generation(cls, tenant: str, directory: Path, record: GenerationRecord) -> PackInForce:
        """The generation in this directory."""
        calibration = directory / CALIBRATION
        made = MadeFiles(directory / INTENT_HEAD, directory / PUBLISHED, calibration, calibration)
        return cls(tenant, directory, made, record.number, record.digest, record.epochs)

    def digest_of(self, names: Iterable[str]) -> str:
        """Tells apart what these of its files hold, and whether they are there."""
        digest = hashlib.sha256()
        for file in (self.directory / name for name in names):
            digest.update(hashlib.sha256(file.read_bytes()).digest() if file.is_file() else b"none")
        return digest.hexdigest()

    @cached_property
    def policies(self) -> tuple[Policy, ...]:
        """All policies, of a generation with their epochs. Raises `PolicyError`."""
        folder = self.directory / "policies"
        if not self.number:
            return load_policies(list_policies(folder.glob("*")))
        files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])  # what was published is in force, however named
        epochs = {path.partition("/")[2]: epoch for path, epoch in self.epochs.items() if path.startswith("policy/")}
        return load_versions(files, epochs)

    @cached_property
    def replies(self) -> tuple[PackReply, ...]:
        """The site's own replies. Raises `PackError`."""
        return load_replies(self.directory)

    @cached_property
    def prompts(self) -> tuple[SitePrompt, ...]:
        """What a model is to keep to that writes answers. Raises `PackError`."""
        findings = PackFindings(self.directory)
        prompts = read_prompts(self.directory, findings)
        findings.raise_faults(self.directory)
        return tuple(
            SitePrompt(Artefact("prompt", name, digest_of(text), self.epochs.get(f"prompt/{name}", 0)), text)
            for name, text in prompts.items()
        )

    @cached_property
    def thesaurus(self) -> Thesaurus | None:
        """What people say for the documents' words; None: the index has the pack's."""
        return _read_thesaurus((self.directory / THESAURUS).read_bytes()) if self.number else None

    @cached_property
    def intent_head(self) -> IntentHead:
        """What tells intents apart. Raises `IntentHeadMissingError`."""
        return IntentHead.load(self.made.intent_head)

    @cached_property
    def published(self) -> PublishedText:
        """What the site itself publishes; nothing where that was never prepared."""
        file = self.made.published
        return PublishedText(file.read_text("utf-8") if file.exists() else "")

    def load_reader(self, units: UnitReader, effort: Effort) -> Reader:
        """The tenant's reader, with weights of its own where the pack has some that fit; where it has some that do not,
        the reason is logged. Raises `CalibrationMissingError`."""
        found = find_tuning(self.directory, self.tenant, units.version)
        if found.ignored:
            _log.warning("reader.tuning_ignored", tenant=self.tenant, reason=found.ignored)
        own = units.tuned(found)
        file = self.made.calibration if own is units else self.made.tuned_calibration
        return Reader(own, Calibration.load(file), effort)


@lru_cache(maxsize=8)
def _read_thesaurus(data: bytes) -> Thesaurus:
    """Most generations have the one of the generation before: building one takes tens of milliseconds."""
    return Thesaurus(read_groups(data))


async def in_loader(function: Callable[[], P]) -> P:
    """Call it in the thread that loads: what requests have queued for other threads does not hold it up."""
    return await asyncio.get_running_loop().run_in_executor(_LOADER, function)


class ActiveParts(Generic[P]):
    """What one stage makes of a tenant's generations in a directory, each once: `load` gets what is in force."""

    def __init__(self, tenant: str, directory: Path, load: Callable[[PackInForce], P]) -> None:
        self.store = GenerationStore(directory)
        self._tenant = tenant
        self._load = load
        self._loaded: LRUCache[int, P] = LRUCache(REMEMBERED)
        self._current: tuple[int, P] | None = None
        self._seen: PointerLook | None = None
        self._fault: Exception | None = None
        self._loading = asyncio.Lock()
        self.is_made = False
        """Whether there is a directory, as `refresh` saw last: a site with one answers by nothing else."""

    def current(self) -> tuple[int, P] | None:
        """The newest generation that is loaded, by number, for a request that begins now; None where nothing is in
        force. Raises what kept the one in force from being loaded: it must not be answered by one that is not."""
        if self._fault is not None:
            raise self._fault
        return self._current

    async def at(self, number: int) -> P:
        """The generation that a request began with. Raises `GenerationGoneError`, and what loading raises."""
        found = self._loaded.get(number)
        if found is None:
            async with self._loading:
                found = self._loaded.get(number)
                if found is None:
                    found = await in_loader(partial(self._load_number, number))
                    self._loaded[number] = found
        return found

    async def refresh(self) -> None:
        """See the generation that the pointer names, once it is loaded. Raises nothing: see `current`."""
        await self._see(look_at(self.store))

    async def _see(self, seen: PointerLook) -> None:
        self.is_made = seen.is_made
        if seen == self._seen and self._fault is None:
            return
        try:
            record = await in_loader(self.store.current)
            current = None if record is None else (record.number, await self.at(record.number))
        except Exception as error:  # noqa: BLE001 - whatever it was, the next request hears of it
            if self._fault is None:
                _log.error("generation.unreadable", directory=str(self.store.directory), error=str(error))
            self._fault = error
            return
        self._current, self._seen, self._fault = current, seen, None

    @asynccontextmanager
    async def watching(self, every_s: float = POLL_S) -> AsyncIterator[None]:
        """While this is open, new generations are seen as they come into force."""
        await self.refresh()
        async with watching_pointer(self.store, every_s) as watch:
            task = asyncio.create_task(self._keep_refreshing(watch, every_s))
            try:
                yield
            finally:
                await end_tasks(task)

    async def _keep_refreshing(self, watch: PointerWatch, every_s: float) -> None:
        while True:
            await self._see(await watch.other_than(self._seen))
            if self._fault is not None:  # it is not seen yet, and is read again: it may be mended where it lies
                await asyncio.sleep(every_s)

    def _load_number(self, number: int) -> P:
        record = self.store.record(number)
        return self._load(PackInForce.of_generation(self._tenant, self.store.path(number), record))
