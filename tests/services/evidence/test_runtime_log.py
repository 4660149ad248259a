"""What a runtime answers in process is in the audit log of its site, once, whoever writes that log."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.support.audit_logs import attack, fill
from tests.support.audit_worlds import open_world
from tests.support.message_parts import RECEIPT, WHOSE
from tests.support.nats_fleet import until
from tests.support.sync_parts import fast_directory
from tidegate.brokers.settings import RetentionSettings
from tidegate.schemas import Citation, Published, replace
from tidegate.schemas.audit import AuditedAnswer, AuditEntry
from tidegate.services.evidence.entries import receipt_digest
from tidegate.services.evidence.log import AuditLog
from tidegate.services.evidence.log_file import AuditDamagedError
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.evidence.runtime_log import open_runtime_log
from tidegate.services.evidence.settings import AuditSettings
from tidegate.services.evidence.verification import Expectation, verify_log
from tidegate.services.fleet.author_keys import known_author_keys
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings
from tidegate.sync.trust.keys import KeyStore

pytestmark = pytest.mark.anyio
SECRET = "The vault is behind the mirror."
CITED = Citation(document_id="d", document_version="v", start=0, end=len(SECRET), quote=SECRET)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    KeyStore(tmp_path / "keys").generate("author", "site1", 1)
    return Settings(state_dir=str(tmp_path))


def answer(rid: str) -> Published:
    whose = {**WHOSE, "rid": rid}
    receipt = replace(RECEIPT, citations=(CITED,))
    return Published(**whose, outcome="answered", text=SECRET, citations=(CITED,), receipt=receipt)


def entries(settings: Settings) -> list[AuditEntry]:
    with AuditReader.open(StatePaths(settings).audit) as reader:
        return [stored.entry for stored in reader.entries()]


def files_in(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


async def keep(settings: Settings, published: Published) -> None:
    async with open_runtime_log(settings) as log:
        assert log is not None
        await log.keep(published)


def rids(settings: Settings) -> list[str]:
    return [entry.body.rid for entry in entries(settings) if isinstance(entry.body, AuditedAnswer)]


async def test_answers_are_entries_under_a_signed_head_and_hold_no_word_of_theirs(settings: Settings) -> None:
    async with open_runtime_log(settings) as log:
        assert log is not None
        for number in range(3):
            await log.keep(answer(f"r{number}"))
    found = entries(settings)
    assert [entry.kind for entry in found] == ["log_opened", "answered", "answered", "answered"]
    assert rids(settings) == ["r0", "r1", "r2"]
    last = found[-1].body
    assert isinstance(last, AuditedAnswer)
    assert last.receipt_digest == receipt_digest(answer("r2").receipt)
    with AuditReader.open(StatePaths(settings).audit) as reader:
        report = verify_log(reader, Expectation(domain="site1", keys=known_author_keys(settings), witnessed={}))
    assert (report.is_good, report.signed) == (True, 4)
    assert not [path for path in files_in(Path(settings.state_dir)) if SECRET.encode() in path.read_bytes()]


async def test_an_answer_is_on_the_disk_before_it_is_given_and_logged_by_the_next_who_can(settings: Settings) -> None:
    events = StatePaths(settings).audit_events
    with AuditLog.open(StatePaths(settings).audit, "site1"):
        async with open_runtime_log(settings) as log:
            assert log is not None
            await log.keep(answer("r1"))
            assert len(list(events.iterdir())) == 1
            shutil.copytree(events, events.with_name("copy"))
    assert rids(settings) == []
    await keep(settings, answer("r2"))
    assert rids(settings) == ["r1", "r2"]
    shutil.rmtree(events)
    events.with_name("copy").rename(events)  # as after a crash between the log and the forgetting
    await keep(settings, answer("r1"))
    assert rids(settings) == ["r1", "r2", "r1"], "another answer of the same id, and not the first one again"


async def test_the_audit_worker_of_the_site_takes_them_where_it_has_the_log() -> None:
    with fast_directory() as path:
        async with open_world(Path(path)) as world, world.worker("site1"):
            async with open_runtime_log(world.settings("site1")) as log:
                assert log is not None
                await log.keep(answer("r1"))
                await world.logged("site1", 2)
            assert rids(world.settings("site1")) == ["r1"]


async def test_it_is_in_the_log_soon_and_not_only_at_the_end(settings: Settings) -> None:
    async with open_runtime_log(settings) as log:
        assert log is not None
        await log.keep(answer("r1"))

        async def is_taken() -> bool:
            return not files_in(StatePaths(settings).audit_events)

        async with asyncio.timeout(10.0):
            await until(is_taken)
        assert rids(settings) == ["r1"]


async def test_a_log_that_was_changed_is_an_error_and_the_answer_waits(settings: Settings) -> None:
    await keep(settings, answer("r1"))
    attack(StatePaths(settings).audit, "UPDATE entries SET counter = 9 WHERE counter = 1")
    with pytest.raises(AuditDamagedError):
        await keep(settings, answer("r2"))
    attack(StatePaths(settings).audit, "UPDATE entries SET counter = 1 WHERE counter = 9")
    async with open_runtime_log(settings):
        pass
    assert rids(settings) == ["r1", "r2"]


async def test_a_site_without_a_key_has_no_log(tmp_path: Path) -> None:
    async with open_runtime_log(Settings(state_dir=str(tmp_path))) as log:
        assert log is None
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("has_witness", [False, True])
async def test_the_log_of_a_site_without_a_hub_stays_within_its_bounds(settings: Settings, has_witness: bool) -> None:
    with AuditLog.open(StatePaths(settings).audit, "site1") as log:
        fill(log, 600)
    alone = replace(settings, retention=RetentionSettings(audit_bytes=1), audit=AuditSettings(has_witness=has_witness))
    await keep(alone, answer("r-new"))
    assert next(entry.counter for entry in entries(settings)) == (0 if has_witness else 512)
    assert rids(settings)[-1] == "r-new"
    with AuditReader.open(StatePaths(settings).audit) as reader:
        report = verify_log(reader, Expectation(domain="site1", keys=known_author_keys(settings), witnessed={}))
    assert report.is_good
    assert report.signed == report.size
