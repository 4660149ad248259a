"""An adapter that comes to a site before its model waits for it, says so, and has it fetched."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.nats_fleet import until
from tests.support.trust_fleet import TENANT, publish_at, trust_fleet
from tidegate.services.fleet.trust_site import SiteTrust
from tidegate.sync.shells.artefact_publishing import PublishOptions

pytestmark = pytest.mark.anyio
ADAPTER, MODEL = f"artefacts/{TENANT}/adapter/branch", f"artefacts/{TENANT}/model/small"


def in_force(site: SiteTrust) -> set[str]:
    return {f"artefacts/{each.tenant}/{each.kind}/{each.name}" for each in site.status() if each.epoch}


async def test_an_adapter_waits_for_its_model_which_is_fetched_for_it(tmp_path: Path) -> None:
    adapter, model, other = (tmp_path / name for name in ("adapter.tar", "model.tar", "other.tar"))
    for file in (adapter, model, other):
        file.write_bytes(file.name.encode() * 100)
    terms = PublishOptions(base_digests=(sha256(model.read_bytes()).hexdigest(),))
    async with trust_fleet(tmp_path) as fleet, fleet.open_hub() as hub, fleet.open_site("site1") as site:
        await publish_at(hub, TENANT, "model", "other", other)  # nobody needs it
        await publish_at(hub, TENANT, "adapter", "branch", adapter, terms)

        async def is_refused() -> bool:
            return "none of them is in force" in site.artefacts.faults.get(ADAPTER, "")

        await until(is_refused)
        assert in_force(site) == set()
        assert any("fits the models" in fault for fault in site.faults())
        await publish_at(hub, TENANT, "model", "small", model)

        async def is_whole() -> bool:
            return in_force(site) == {ADAPTER, MODEL} and not site.artefacts.faults

        await until(is_whole)
