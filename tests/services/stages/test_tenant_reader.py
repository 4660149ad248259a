"""A tenant's own reader as site and hub open it: it answers for that tenant, and the lineage names it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from tests.support.escalation_site import at_hub, escalated, prepared, routed
from tests.support.tuned_reader import tune_for
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import Artefact, Drafted, Verified
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.reader.calibration import CalibrationMissingError
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.settings import Settings
from tidegate.services.stages import cloud_verifier, drafter, retriever
from tidegate.services.stages.settings import CloudVerifierSettings

pytestmark = pytest.mark.anyio
DRAFT = "What does a banker's draft cost?"


@pytest.fixture
def pack(tmp_path: Path) -> Iterable[Path]:
    """A pack with a reader for the tenant, whose confidence was prepared at both ends."""
    tune_for(tmp_path, "kiosk", UnitReader.load(Path(".models")), more=0.5)
    for settings in (prepared(), at_hub()):
        paths = StatePaths(settings)
        own = paths.tuned_calibration("kiosk")
        own.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(paths.calibration, own)
    yield tmp_path
    for settings in (prepared(), at_hub()):
        shutil.rmtree(StatePaths(settings).tuned_calibration("kiosk").parent.parent)


def tuned_in(lineage: Iterable[Artefact]) -> list[str]:
    return [part.version for part in lineage if part.id == "tuned-reader"]


async def drafted(settings: Settings) -> Drafted:
    bus = MemoryBus("site1")
    async with retriever.open(settings, bus) as retrieve, drafter.open(settings, bus) as answer:
        (found,) = await retrieve(routed(DRAFT))
        (outcome,) = await answer(found)
    assert isinstance(outcome, Drafted)
    return outcome


async def test_a_site_names_the_reader_that_its_pack_has_for_the_tenant(pack: Path) -> None:
    units = UnitReader.load(Path(".models"))
    own = msgspec.structs.replace(prepared(), pack_dir=str(pack))
    version = tune_for(pack, "kiosk", units, more=0.5).version
    assert tuned_in((await drafted(own)).lineage) == [version]
    assert tuned_in((await drafted(prepared())).lineage) == []
    tune_for(pack, "kiosk", units, base="0123456789ab")
    assert tuned_in((await drafted(own)).lineage) == [], "it was made for another reader"


async def test_the_hub_verifies_by_the_tenant_s_reader(pack: Path) -> None:
    settings = at_hub(CloudVerifierSettings(backend="extractive"))
    for pack_dir, count in ((str(pack), 1), (settings.pack_dir, 0)):
        own = msgspec.structs.replace(settings, pack_dir=pack_dir)
        async with cloud_verifier.open(own, MemoryBus("hub")) as verdict:
            (verified,) = await verdict(escalated("Who is the chief executive of the bank?"))
        assert isinstance(verified, Verified)
        assert len(tuned_in(verified.lineage)) == count


async def test_a_site_whose_confidence_was_not_prepared_for_it_does_not_start(pack: Path) -> None:
    StatePaths(prepared()).tuned_calibration("kiosk").unlink()
    own = msgspec.structs.replace(prepared(), pack_dir=str(pack))
    with pytest.raises(CalibrationMissingError, match="is missing"):
        await drafted(own)
