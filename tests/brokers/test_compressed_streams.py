"""What is promised of facts holds in blocks that the server has compressed: they are read, erased, and survive it."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.support.broker_harness import JetStreamRig, OpenRig, until
from tests.support.scripted_stage import withheld
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.erasing import erase
from tidegate.schemas import encode

pytestmark = pytest.mark.anyio
BLOCK = 8 << 20
MESSAGE = 512 << 10


def blocks_of(directory: Path, stream: str) -> list[Path]:
    """The files of a stream that hold messages, oldest first."""
    found = directory.rglob(f"{stream}/msgs/*.blk")
    return sorted(found, key=lambda path: int(path.stem))


async def fill_a_block(rig: JetStreamRig, directory: Path, marks: list[str]) -> None:
    """Store a message for each mark, and then so much that their block is full and compressed."""
    for n, mark in enumerate(marks):
        await rig.bus.publish(withheld(f"m{n}", mark), id=f"m{n}", headers={})
    words = "the same words again and again, " * (MESSAGE // 32)
    for n in range(BLOCK // MESSAGE + 1):
        await rig.bus.publish(withheld(f"r{n}", words), id=f"r{n}", headers={})

    async def is_compressed() -> bool:
        # A block is written some time after it is acknowledged: until the next one is begun, it is small for that.
        blocks = blocks_of(directory, "PIPE")
        return len(blocks) > 1 and blocks[0].stat().st_size < BLOCK // 10

    await until(is_compressed)


def places_of(directory: Path, mark: str) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and mark.encode() in path.read_bytes()]


async def test_a_fact_in_a_compressed_block_is_read_and_erased_and_the_others_stay(
    open_server_rig: OpenRig, tmp_path: Path
) -> None:
    # Random, and of so many letters that no four of them stand in a row elsewhere: compression leaves them as they are.
    marks = [secrets.token_urlsafe(18) for _ in range(2)]
    async with open_server_rig() as rig:
        await fill_a_block(rig, tmp_path, marks)
        for n, mark in enumerate(marks):
            assert await rig.bus.last("PIPE", f"pipe.kiosk.withheld.m{n}") == encode(withheld(f"m{n}", mark))
            assert places_of(tmp_path, mark) == [blocks_of(tmp_path, "PIPE")[0]]
        assert await erase(rig.client, "PIPE:1")
        assert places_of(tmp_path, marks[0]) == []
        assert await rig.bus.last("PIPE", "pipe.kiosk.withheld.m0") is None
        rig.server.kill()
        await rig.server.start()

        async def is_linked() -> bool:
            return bool(rig.bus.link.is_up)

        await until(is_linked)
        assert await rig.bus.last("PIPE", "pipe.kiosk.withheld.m1") == encode(withheld("m1", marks[1]))


async def test_a_stream_that_is_there_is_compressed_from_now_on_and_loses_nothing(
    open_server_rig: OpenRig, tmp_path: Path
) -> None:
    async with open_server_rig() as rig:
        declared = (await api.call(rig.client, "STREAM.INFO.PIPE"))["config"]
        assert declared["compression"] == "s2"
        await api.put_stream(rig.client, {**declared, "compression": "none"}, is_new=False)
        await rig.bus.publish(withheld("before", "before"), id="before", headers={})
        await api.put_stream(rig.client, declared, is_new=False)
        await fill_a_block(rig, tmp_path, [])
        assert await rig.bus.last("PIPE", "pipe.kiosk.withheld.before") == encode(withheld("before", "before"))
