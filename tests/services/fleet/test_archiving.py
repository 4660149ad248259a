"""Answers that leave their stream are in the archive before, are found there by whoever could find them, and are erased
there with their asker."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.erasing_world import ANN, World, erasing_world
from tests.support.gateway_site import EMAIL, ask, asked
from tidegate.brokers.base import StoredMessage
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.erasing import erase
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.settings import DAY_S, RetentionSettings
from tidegate.brokers.topology.fill import StreamFill
from tidegate.schemas import Published, Refused, RetryLaterError, decode, replace
from tidegate.schemas.subjects import ANSWERS, ASKS
from tidegate.services.cli import main
from tidegate.services.fleet.answer_archive import (
    ARCHIVE,
    AnswerArchive,
    ArchiveReader,
    ArchiveUnreadableError,
    erase_archived,
    find_archived,
)
from tidegate.services.fleet.archiving import FROM_SHARE, TO_SHARE, AnswerArchiver, below_for_room
from tidegate.services.fleet.asked_index import note_requests
from tidegate.services.fleet.audit_status import FILE, AuditStatus
from tidegate.services.fleet.erasing import erase_asker
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.personal_export import export_asker
from tidegate.services.fleet.vault import open_vault

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with erasing_world(tmp_path) as opened:
        yield opened


def archive_of(world: World) -> Path:
    return StatePaths(world.settings).answer_archive


def logged(world: World, upto: int) -> None:
    """The audit worker of the site says that so many answers are in its log."""
    audit = StatePaths(world.settings).audit
    audit.mkdir(parents=True, exist_ok=True)
    (audit / FILE).write_bytes(msgspec.json.encode(AuditStatus(domain="site1", followed={ANSWERS: upto})))


def archiver(world: World, later_s: float, **retention: int) -> AnswerArchiver:
    assert isinstance(world.site.bus, JetStreamBus)
    set_so = replace(world.settings, retention=RetentionSettings(**retention))  # type: ignore[arg-type]
    return AnswerArchiver(set_so, world.site.bus, lambda: time.time() + later_s)


async def in_stream(world: World) -> list[str]:
    return [stored.subject.split(".")[-1] for stored in await messages(world.client, ANSWERS, "answers.>")]


async def test_an_answer_is_found_after_it_left_the_stream_by_its_asker_and_nobody_else(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    first = await world.ask("ann", "r1")
    await world.ask("ben", "r2")
    with closing(open_vault(world.settings)) as vault:
        await note_requests(world.client, vault)
    assert await archiver(world, 29 * DAY_S).work() == 0
    logged(world, 0)
    with pytest.raises(RetryLaterError, match="audit log"):
        await archiver(world, 31 * DAY_S).work()
    logged(world, 1)
    with pytest.raises(RetryLaterError, match="audit log"):  # the second is not logged yet
        await archiver(world, 31 * DAY_S).work()
    assert await in_stream(world) == ["r2"]
    logged(world, 2)
    assert await archiver(world, 31 * DAY_S).work() == 1
    assert await in_stream(world) == []
    await world.client.request(f"$JS.API.STREAM.PURGE.{ASKS}", b"")

    assert await world.ask("ann", "r1") == first  # with her own words put back
    assert first.text.count(EMAIL) == 2
    refused = await ask(world.site, asked("and I?", asker="ben", rid="r1"))
    assert isinstance(refused, Refused)
    assert refused.code == "rid_taken"
    assert await (await world.site.ingress.resume("kiosk", "r1", ANN)).answer() == first
    assert await world.stored("r1") == {"PIPE"}  # nothing was asked or answered anew
    exported = await export_asker(world.settings, "kiosk", ANN)
    assert exported.requests[0].held_in[ARCHIVE] == 1
    assert exported.requests[0].answer.count(EMAIL) == 2

    def trace() -> None:
        with pytest.raises(SystemExit) as ended:
            main(["trace", "r1", "--site", "site1", "--state", str(world.state)])
        assert not ended.value.code

    await asyncio.to_thread(trace)
    assert "ARCHIVE" in capsys.readouterr().out


async def test_who_is_erased_is_in_no_byte_of_the_archive_and_of_the_stream_before_it(world: World) -> None:
    for asker, rid in (("ann", "r1"), ("ben", "r2")):
        await world.ask(asker, rid)
    stored = await messages(world.client, ANSWERS, "answers.kiosk.r1")
    token = decode(stored[0].data, Published).text.split()[3].encode()
    logged(world, 2)
    assert await archiver(world, 31 * DAY_S).work() == 2
    relative = str(archive_of(world).parent.relative_to(world.state))
    assert any(name.startswith(relative) for name in world.files_with(token))
    certificate = await erase_asker(world.settings, "kiosk", ANN)
    assert certificate.deleted[f"site1/{ARCHIVE}"] == 1
    await world.is_written()
    assert world.files_with(token) == set()
    assert find_archived(archive_of(world), "r1") == []
    assert len(find_archived(archive_of(world), "r2", "kiosk")) == 1
    assert find_archived(archive_of(world), "r2", "bank") == []


async def test_a_cut_between_the_archive_and_the_stream_costs_nothing_and_archives_nothing_twice(world: World) -> None:
    await world.ask("ann", "r1")  # at a site that keeps no audit log
    [stored] = await messages(world.client, ANSWERS, "answers.>")
    with AnswerArchive.open(archive_of(world)) as archive:  # as far as it came
        archive.add([stored])
    assert await archiver(world, 31 * DAY_S).work() == 1
    [archived] = find_archived(archive_of(world), "r1")
    assert (archived.data, archived.headers, archived.sequence) == (stored.data, stored.headers, stored.sequence)
    assert await in_stream(world) == []


async def test_what_is_erased_while_the_archiver_waits_for_the_file_does_not_come_into_it(world: World) -> None:
    for rid in ("r1", "r2"):
        await world.ask("ann", rid)
    [first, _] = await messages(world.client, ANSWERS, "answers.>")
    with AnswerArchive.open(archive_of(world)) as archive:
        archive.begin()
        moving = asyncio.create_task(archiver(world, 31 * DAY_S).work())
        await asyncio.sleep(0.5)
        assert await erase(world.client, first.position)
        archive.end("ROLLBACK")
        assert await moving == 1
        assert [bool(archive.find(rid)) for rid in ("r1", "r2")] == [False, True]


async def test_a_stream_that_fills_up_is_emptied_of_its_oldest_but_not_of_what_is_new(world: World) -> None:
    for number in range(10):
        await world.ask("ann", f"r{number}")
    logged(world, 10)
    info = await api.call(world.client, f"STREAM.INFO.{ANSWERS}")
    limit = int(info["state"]["bytes"] / 0.9)
    await api.put_stream(world.client, {**info["config"], "max_bytes": limit}, is_new=False)
    assert await archiver(world, 60.0).work() == 0
    assert await archiver(world, 2 * 3600.0, archive_answers_after_s=0).work() == 0
    moved = await archiver(world, 2 * 3600.0).work()
    left = await api.call(world.client, f"STREAM.INFO.{ANSWERS}")
    assert left["state"]["bytes"] / limit <= FROM_SHARE
    assert await in_stream(world) == [f"r{number}" for number in range(moved, 10)]
    assert await world.ask("ann", "r0") == await world.ask("ann", "r0")
    assert await archiver(world, 2 * 3600.0).work() == 0


@given(
    held=st.integers(0, 1000), most=st.integers(1, 1000), first=st.integers(1, 1 << 40), count=st.integers(1, 1 << 20)
)
@settings(max_examples=300, derandomize=True)
def test_a_stream_is_emptied_down_to_a_share_and_never_wholly(held: int, most: int, first: int, count: int) -> None:
    fill = StreamFill(stream=ANSWERS, bytes=min(held, most), max_bytes=most)
    below = below_for_room(fill, first, first + count - 1)
    assert (below == 0) == (fill.share <= FROM_SHARE)
    if below:
        left = (first + count - below) / count * fill.share
        assert first < below <= first + count
        assert left <= TO_SHARE + 1e-9
        assert left > TO_SHARE - fill.share / count - 1e-9


def stored_answer(rid: str, at_s: float = 1.0, tenant: str = "kiosk") -> StoredMessage:
    return StoredMessage("ANSWERS", 7, at_s, f"answers.{tenant}.{rid}", {"Nats-Msg-Id": rid}, f"of {rid}".encode())


def test_what_is_kept_no_longer_is_forgotten_oldest_first_and_in_no_byte(tmp_path: Path) -> None:
    path = tmp_path / "archive" / "answers.sqlite"
    with AnswerArchive.open(path) as archive:
        archive.add([stored_answer(f"r{number}", float(number)) for number in range(5)])
        assert archive.forget(3000, 2) == 2
        assert [bool(archive.find(f"r{number}")) for number in range(5)] == [False, False, True, True, True]
        assert archive.forget(3000, 9) == 1
        assert archive.forget(3000, 9) == 0
        assert archive.count() == 2
    assert b"of r0" not in b"".join(each.read_bytes() for each in path.parent.iterdir())
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_archived_answer_that_somebody_changed_is_not_given_out(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with AnswerArchive.open(path) as archive:
        archive.add([stored_answer("r1"), stored_answer("r1", tenant="bank")])
    with closing(sqlite3.connect(path)) as there, there:
        there.execute("UPDATE answers SET data = ? WHERE tenant = 'kiosk'", (b"of r2",))
    with pytest.raises(ArchiveUnreadableError, match="kiosk/r1 is not what was stored"):
        find_archived(path, "r1", "kiosk")
    assert find_archived(path, "r1", "bank")[0].data == b"of r1"
    path.write_bytes(b"no database at all, but long enough to be taken for one" * 9)
    with pytest.raises(ArchiveUnreadableError):
        find_archived(path, "r1")


def test_an_archive_that_was_cut_as_it_was_made_is_made_after_all(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with closing(ArchiveReader(path)) as reader:
        assert reader.find("r1", "kiosk") == []
        with closing(sqlite3.connect(path)) as cut:
            cut.execute("PRAGMA journal_mode=WAL")
        assert path.stat().st_size
        assert reader.find("r1", "kiosk") == []
        with AnswerArchive.open(path) as archive:
            archive.add([stored_answer("r1")])
        assert len(reader.find("r1", "kiosk")) == 1


async def test_erasing_waits_for_a_page_that_is_on_its_way_into_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with AnswerArchive.open(path) as archive:
        archive.begin()
        erasing: Any = asyncio.create_task(asyncio.to_thread(erase_archived, path, "kiosk", ["r1"]))
        await asyncio.sleep(0.3)
        assert not erasing.done()
        archive.add([stored_answer("r1")])
        archive.end("COMMIT")
        assert await erasing == 1
        assert archive.find("r1") == []
