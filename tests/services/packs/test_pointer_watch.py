"""One look for all the stages of a process that follow a tenant's generations."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.support.generation_killing import activate
from tidegate.services.packs.active import ActiveParts, PackInForce
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.packs.pointer_watch import look_at, watching_pointer

pytestmark = pytest.mark.anyio

OFTEN_S = 0.001


async def test_who_follows_one_store_shares_its_looks(tmp_path: Path) -> None:
    async with watching_pointer(GenerationStore(tmp_path), OFTEN_S) as first:
        async with watching_pointer(GenerationStore(tmp_path), OFTEN_S) as second:
            assert second is first
            async with watching_pointer(GenerationStore(tmp_path / "other"), OFTEN_S) as other:
                assert other is not first
        activate(tmp_path, 1)
        seen = await asyncio.wait_for(first.other_than(None), 20.0)
        while seen.pointer is None:
            seen = await asyncio.wait_for(first.other_than(seen), 20.0)
        assert seen == look_at(GenerationStore(tmp_path)), "it goes on for who is left"
    async with watching_pointer(GenerationStore(tmp_path), OFTEN_S) as anew:
        assert anew is not first, "nobody follows the one before, so it has ended"


async def test_nobody_is_woken_by_what_he_has_seen(tmp_path: Path) -> None:
    store = GenerationStore(tmp_path)
    async with watching_pointer(store, OFTEN_S) as watch:
        waiting = asyncio.create_task(watch.other_than(look_at(store)))
        await asyncio.sleep(20 * OFTEN_S)
        assert not waiting.done()
        activate(tmp_path, 1)
        assert (await asyncio.wait_for(waiting, 20.0)).pointer is not None


async def test_what_cannot_be_looked_at_is_looked_at_again(tmp_path: Path) -> None:
    store = GenerationStore(tmp_path / "active")
    activate(store.directory, 1)
    first = look_at(store)
    async with watching_pointer(store, OFTEN_S) as watch:
        store.directory.rename(tmp_path / "away")
        store.directory.write_bytes(b"no directory")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watch.other_than(first), 20 * OFTEN_S)
        store.directory.unlink()
        (tmp_path / "away").rename(store.directory)
        activate(store.directory, 2)
        assert await asyncio.wait_for(watch.other_than(first), 20.0) == look_at(store)


async def test_what_cannot_be_read_is_read_again_until_it_can(tmp_path: Path) -> None:
    may_load = False

    def load(pack: PackInForce) -> int:
        if not may_load:
            raise ZeroDivisionError(pack.tenant)
        return pack.number

    active = ActiveParts("kiosk", tmp_path, load)
    activate(tmp_path, 1)
    async with active.watching(every_s=OFTEN_S):
        with pytest.raises(ZeroDivisionError):
            active.current()
        may_load = True
        assert await asyncio.wait_for(_current_once_loaded(active), 20.0) == (1, 1), "the pointer has not changed"


async def _current_once_loaded(active: ActiveParts[int]) -> tuple[int, int] | None:
    while True:
        with contextlib.suppress(ZeroDivisionError):
            return active.current()
        await asyncio.sleep(OFTEN_S)
