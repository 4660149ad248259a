"""What a site needs before it can work: index, intent head, calibration.

Promises that only what changed is made again. Next: models.py, deployment.py.
"""

from __future__ import annotations

from contextlib import closing

import msgspec

from tidegate.schemas.pack import Domain, Pack
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.readers import units_for
from tidegate.services.knowledge import intent_classifier
from tidegate.services.knowledge.index import packing
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.effort import AT_HUB, AT_SITE
from tidegate.services.knowledge.reader.fit import prepare_calibration
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.privacy.dlp.published import PublishedText
from tidegate.services.settings import Settings


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
