"""A collection that cannot be exported is named, and an export that is cut leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from tests.support.carrying_hub import FAQ, CarryingHub, open_hub
from tests.support.sync_parts import text
from tests.support.trust_hub import NOW
from tidegate.sync.carrying import NotCarriedError
from tidegate.sync.rules.plan import HoleError
from tidegate.sync.trust.faults import UnknownTargetError

pytestmark = pytest.mark.anyio


@pytest.fixture
async def hub(tmp_path: Path) -> CarryingHub:
    return await open_hub(tmp_path)


async def test_what_cannot_be_exported_is_named_and_leaves_no_file(hub: CarryingHub, tmp_path: Path) -> None:
    file = tmp_path / "faq.bundle"
    hub.log.deltas["faq"] = hub.log.deltas["faq"][-1:]
    with pytest.raises(HoleError):
        await hub.export(file)
    hub.store.put_collection(msgspec.structs.replace(FAQ, name="own", owner="hub"))
    hub.author.write("own", "secret", text("of the hub"), NOW)
    with pytest.raises(NotCarriedError):
        await hub.exporter().export("kiosk", "own", file, NOW)
    hub.store.put_collection(msgspec.structs.replace(FAQ, name="fees"))
    hub.author.write("fees", "card", text("four"), NOW)
    await hub.relay.take_own(NOW)
    with pytest.raises(UnknownTargetError):
        await hub.exporter().export("kiosk", "fees", file, NOW)
    assert not bundles_in(tmp_path)


async def test_an_export_that_is_cut_short_leaves_no_part(hub: CarryingHub, tmp_path: Path) -> None:
    [chunk, *_] = sorted((hub.trust.files / "chunks").iterdir())
    chunk.unlink()
    with pytest.raises(FileNotFoundError):
        await hub.export(tmp_path / "faq.bundle")
    assert not bundles_in(tmp_path)


async def test_an_export_that_is_cancelled_leaves_no_part(hub: CarryingHub, tmp_path: Path) -> None:
    await hub.write(" ".join(f"d{number}" for number in range(20)))
    manifest = await hub.snapshot()
    assert len(manifest.chunks) > 2
    first = hub.trust.files / "chunks" / manifest.chunks[0].digest
    first.unlink()
    os.mkfifo(first)  # reading it takes until somebody writes
    exporting = asyncio.create_task(hub.export(tmp_path / "faq.bundle"))
    pipe = await asyncio.to_thread(first.open, "wb")
    assert bundles_in(tmp_path)
    exporting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exporting
    pipe.close()
    async with asyncio.timeout(30):
        while bundles_in(tmp_path):  # noqa: ASYNC110 - the thread that writes has no event to wait for
            await asyncio.sleep(0.005)


def bundles_in(directory: Path) -> list[Path]:
    """Files of this kind, whole or not."""
    return list(directory.glob("*.bundle*"))
