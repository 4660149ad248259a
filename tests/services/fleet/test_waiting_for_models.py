"""After models were exchanged a site answers when what is made with them is made anew, and not before."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.paths import MODELS
from tests.support.small_pack import pack_at
from tidegate.services.fleet import waiting
from tidegate.services.fleet.made_files import MODELS as MADE_WITH
from tidegate.services.fleet.made_files import digest_models
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.waiting import find_missing_pack, wait_until_in_force
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.packs.parts import parts_of
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio


def bring_into_force(settings: Settings, pack: Path, tenant: str, models: str) -> None:
    """A generation as a sync worker leaves it that has these models."""
    parts = parts_of(pack)
    store = GenerationStore(StatePaths(settings).active(tenant))
    store.activate(parts, {}, lambda _draft, _before: {MADE_WITH: models}, lambda _draft, _record: None)


async def test_it_waits_for_what_is_made_anew_and_names_whose(tmp_path: Path) -> None:
    settings = Settings(
        state_dir=str(tmp_path / "state"), models_dir=str(MODELS), pack_dir=str(tmp_path / "none"), tenants=("a", "b")
    )
    pack, here = pack_at(tmp_path), digest_models(StatePaths(settings))
    bring_into_force(settings, pack, "a", "those before")
    missing = find_missing_pack(settings)
    assert missing is not None
    assert "the pack of a was made with other models" in missing.reason
    assert missing.is_of_all
    bring_into_force(settings, pack, "b", here)
    missing = find_missing_pack(settings)
    assert missing is not None
    assert not missing.is_of_all
    waits = asyncio.create_task(wait_until_in_force(settings))
    await asyncio.sleep(3 * waiting.LOOK_EVERY_S)
    assert not waits.done()
    bring_into_force(settings, pack, "a", here)
    await asyncio.wait_for(waits, 10)


async def test_where_there_are_no_models_nobody_waits_for_what_they_make(tmp_path: Path) -> None:
    settings = Settings(
        state_dir=str(tmp_path / "state"), models_dir=str(tmp_path / "none"), pack_dir=str(tmp_path / "none")
    )
    bring_into_force(settings, pack_at(tmp_path), "kiosk", "those before")
    assert find_missing_pack(settings) is None


async def test_one_tenant_s_fault_keeps_the_others_for_a_while_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "REMADE_WITHIN_S", 0.0)
    settings = Settings(
        state_dir=str(tmp_path / "state"), models_dir=str(MODELS), pack_dir=str(tmp_path / "none"), tenants=("a", "b")
    )
    pack = pack_at(tmp_path)
    bring_into_force(settings, pack, "a", "those before")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait_until_in_force(settings), 3 * waiting.LOOK_EVERY_S)
    bring_into_force(settings, pack, "b", digest_models(StatePaths(settings)))
    await asyncio.wait_for(wait_until_in_force(settings), 10)
