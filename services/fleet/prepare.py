"""What a site needs before it can work: index, intent head, calibration.

Promises that only what changed is made again. Next: models.py, deployment.py.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from contextlib import closing

import msgspec

from tidegate.schemas import replace
from tidegate.schemas.pack import Domain, Pack
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.models import ProgressReporter, build_models
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.readers import units_for
from tidegate.services.knowledge import intent_classifier
from tidegate.services.knowledge.index import packing
from tidegate.services.knowledge.index.copying import copy_index
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.fit import prepare_calibration
from tidegate.services.knowledge.reader.reader import AT_HUB, AT_SITE
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.privacy.dlp.published import PublishedText
from tidegate.services.settings import Settings


async def prepare_all(settings: Settings, sites: Sequence[str], pack: Pack, progress: ProgressReporter) -> None:
    """Prepare the hub and every site of this machine below `settings.state_dir`. Raises `ModelBuildError`."""
    await build_models(settings, progress)
    hub, first, *others = [replace(settings, site=site) for site in (HUB, *sites)]
    stoppable = _StoppableProgress(progress)
    try:
        await asyncio.to_thread(prepare, hub, pack, stoppable)
        await asyncio.to_thread(prepare, first, pack, stoppable)
        for other in others:
            await asyncio.to_thread(copy_prepared, first, other)
            await asyncio.to_thread(prepare, other, pack, stoppable)
    except asyncio.CancelledError:
        stoppable.is_stopped = True
        raise


class _StoppableProgress:
    """Passes progress on; a thread cannot be cancelled, so the next step that it reports ends it."""

    def __init__(self, progress: ProgressReporter) -> None:
        self._progress = progress
        self.is_stopped = False

    def start(self, what: str, total: int | None = None) -> None:
        self._check()
        self._progress.start(what, total)

    def step(self, detail: str = "") -> None:
        self._check()
        self._progress.step(detail)

    def show(self, detail: str) -> None:
        self._check()
        self._progress.show(detail)

    def _check(self) -> None:
        if self.is_stopped:
            raise asyncio.CancelledError


def copy_prepared(ready: Settings, new: Settings) -> None:
    """Spare a new site the work that another site of this machine has done; what is there already is left alone."""
    source, target = StatePaths(ready), StatePaths(new)
    if target.intent_head.exists():
        return
    target.home.mkdir(parents=True, exist_ok=True)
    for tenant in new.tenants:
        copy_index(source.index(tenant), target.index(tenant))
        tuned = source.tuned_calibration(tenant).parent
        if tuned.exists():
            shutil.copytree(tuned, target.tuned_calibration(tenant).parent, dirs_exist_ok=True)
    for made in ("calibration", "intent_head", "published"):
        shutil.copy2(getattr(source, made), getattr(target, made))


def prepare(settings: Settings, pack: Pack, progress: ProgressReporter) -> None:
    """Prepare one site, or the hub. Raises `EmbeddingModelMissingError` when the model was never made."""
    paths = StatePaths(settings)
    units = UnitReader.load(paths.models)
    embedder = units.embedder
    domain: Domain = "hub" if settings.site == HUB else "site"
    progress.start(f"{settings.site}: documents", len(pack.documents))
    for tenant in settings.tenants:
        index = packing.prepare_index(
            pack, domain, embedder, paths.index(tenant), lambda _done, _total: progress.step()
        )
        with closing(index):  # what was prepared can be copied file by file: no log of the database lies beside it
            progress.start(f"{settings.site}: calibration", 1)
            _prepare_confidence(settings, pack, index, units, tenant)
            progress.step()
    if domain == "site":
        progress.start(f"{settings.site}: intents", 1)
        intent_classifier.prepare_intents(pack, embedder, paths.intent_head)
        published = PublishedText.of(f"{document.title} | {document.text}" for document in pack.documents)
        paths.published.write_text(str(published), "utf-8")
        progress.step()


def _prepare_confidence(settings: Settings, pack: Pack, index: HybridIndex, units: UnitReader, tenant: str) -> None:
    """Fit the confidence of the tenant's reader. Where all tenants have weights of their own, the shared reader, which
    then nobody asks, keeps the confidence that is shipped."""
    paths, effort = StatePaths(settings), AT_HUB if settings.site == HUB else AT_SITE
    own = units_for(settings, units, tenant)
    if own is units:
        prepare_calibration(pack, index, units, paths.calibration, effort)
        return
    prepare_calibration(pack, index, own, paths.tuned_calibration(tenant), effort)
    if not paths.calibration.exists():
        bare = msgspec.structs.replace(pack, calibration=(), version=f"{pack.version}, not calibrated")
        prepare_calibration(bare, index, units, paths.calibration, effort)
