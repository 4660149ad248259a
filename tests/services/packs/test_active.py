"""Generations as stages read them: loaded beside the requests, seen at once by the next one, held for those before."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from tests.support.generation_killing import activate
from tidegate.services.packs.active import ActiveParts, PackInForce
from tidegate.services.packs.generations import GenerationDamagedError, GenerationGoneError

pytestmark = pytest.mark.anyio


def epoch_of(pack: PackInForce) -> int:
    return pack.epochs["policy/branch"]


async def test_a_generation_is_seen_once_it_is_loaded_and_the_one_before_stays_for_its_requests(tmp_path: Path) -> None:
    active = ActiveParts("kiosk", tmp_path / "active", epoch_of)
    await active.refresh()
    assert (active.current(), active.is_made) == (None, False)
    first = activate(tmp_path / "active", 7)
    assert active.current() is None, "nobody has looked"
    await active.refresh()
    assert (active.current(), active.is_made) == ((first, 7), True)
    second = activate(tmp_path / "active", 8)
    await active.refresh()
    assert active.current() == (second, 8)
    assert (await active.at(first), await active.at(second)) == (7, 8)
    with pytest.raises(GenerationGoneError):
        await active.at(second + 1)


async def test_no_request_waits_while_a_generation_is_loaded(tmp_path: Path) -> None:
    may_load, is_loading, loads = threading.Event(), asyncio.Event(), list[int]()
    loop = asyncio.get_running_loop()

    def load(pack: PackInForce) -> int:
        loads.append(pack.number)
        if pack.number > 1:
            loop.call_soon_threadsafe(is_loading.set)
            assert may_load.wait(20.0)
        return pack.number

    active = ActiveParts("kiosk", tmp_path, load)
    activate(tmp_path, 1)
    await active.refresh()
    activate(tmp_path, 2)
    loading = asyncio.create_task(active.refresh())
    await is_loading.wait()
    assert active.current() == (1, 1)
    assert await active.at(1) == 1
    may_load.set()
    await loading
    assert active.current() == (2, 2)
    assert loads == [1, 2], "each is loaded once"


async def test_whoever_watches_sees_what_comes_into_force_without_asking(tmp_path: Path) -> None:
    active = ActiveParts("kiosk", tmp_path, epoch_of)
    activate(tmp_path, 1)
    async with active.watching(every_s=0.001):
        assert active.current() == (1, 1)
        for epoch in (2, 3):
            await asyncio.to_thread(activate, tmp_path, epoch)
            for _ in range(10_000):
                if active.current() == (epoch, epoch):
                    break
                await asyncio.sleep(0.001)
            assert active.current() == (epoch, epoch)


async def test_a_generation_that_cannot_be_read_is_not_answered_around(tmp_path: Path) -> None:
    active = ActiveParts("kiosk", tmp_path, epoch_of)
    activate(tmp_path, 1)
    await active.refresh()
    record = tmp_path / str(activate(tmp_path, 2)) / "generation.json"
    good = record.read_bytes()
    record.write_bytes(b"{")
    await active.refresh()
    with pytest.raises(GenerationDamagedError):
        active.current()
    assert await active.at(1) == 1, "a request that began before goes on"
    record.write_bytes(good)
    await active.refresh()
    assert active.current() == (2, 2)


async def test_what_keeps_a_generation_from_being_loaded_is_what_the_next_request_hears(tmp_path: Path) -> None:
    def load(pack: PackInForce) -> int:
        raise ZeroDivisionError(pack.tenant)

    active = ActiveParts("kiosk", tmp_path, load)
    activate(tmp_path, 1)
    await active.refresh()
    with pytest.raises(ZeroDivisionError, match="kiosk"):
        active.current()
