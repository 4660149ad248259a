"""What is forged, replayed or exchanged of what the hub publishes: refused, with an entry of the site's audit log."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.audited_refusals import entries_of
from tests.support.nats_fleet import until
from tests.support.refused_attacks import FAULTS, KNOWS_NEWEST, OF_BYTES, Attack, name_of
from tests.support.trust_attacks import GOOD, Scene, manifest_of_another, withheld_chunk
from tests.support.trust_hub import POLICY, at
from tidegate.schemas.audit import AuditedAct
from tidegate.services.fleet.refusal_counts import RefusalCounts
from tidegate.services.fleet.refused_sites import RefusedArtefacts
from tidegate.sync.shells.artefact_sync import ArtefactPorts, ArtefactSync
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.faults import TrustError
from tidegate.sync.trust.holdings import Holdings
from tidegate.sync.trust.keyring import Keyring
from tidegate.sync.trust.sources import DirectorySource

pytestmark = pytest.mark.anyio
PASSED_OVER = (withheld_chunk, manifest_of_another)
"""What is withheld may be on its way; another artefact's manifest is no newer epoch here, and is not even fetched."""
ATTACKS = {attack: fault for attack, fault in FAULTS.items() if attack not in PASSED_OVER}


async def nothing(_: str) -> None:
    """There are no readers here."""


def site_of(scene: Scene, counts: RefusalCounts) -> ArtefactSync:
    client = RepositoryClient(scene.site, DirectorySource(scene.offered))
    ports = ArtefactPorts(
        client=client,
        holdings=Holdings(scene.site, client.blobs),
        stores={},
        tenants=(POLICY.split("/")[1],),
        activate=nothing,
        write_standing=lambda _held, _time: None,
        now=lambda: at(scene.now_ms),
        on_refused=RefusedArtefacts(counts).on_refused,
    )
    return ArtefactSync(ports, Keyring(()))


@pytest.mark.parametrize(("attack", "fault"), ATTACKS.items(), ids=name_of)
async def test_a_site_applies_nothing_of_it_and_logs_why(
    tmp_path: Path, attack: Attack, fault: type[TrustError]
) -> None:
    scene = Scene(tmp_path)
    await scene.begin()
    if attack in KNOWS_NEWEST:
        await scene.hub.client(scene.site).refresh(at(scene.now_ms))
    attack(scene)
    counts = RefusalCounts()
    found: list[tuple[str, str]] = []

    async def is_logged() -> bool:
        for entry in entries_of(counts):
            assert isinstance(entry.body, AuditedAct)
            assert entry.kind == "refused"
            found.append((entry.body.about, entry.body.by))
        return any(code == fault.code for code, _ in found)

    keeping = asyncio.create_task(site_of(scene, counts).keep())
    try:
        await until(is_logged)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert all(by.startswith("hub ") for _, by in found)
    if fault not in OF_BYTES:
        assert (fault.code, "hub repository") in found
    assert Holdings(scene.site, scene.site / "blobs").file(POLICY).read_bytes() == GOOD
