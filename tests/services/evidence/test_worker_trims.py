"""An audit worker trims what another domain has witnessed, or what is signed where it is told that there is none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.audit_logs import fill
from tests.support.audit_worlds import open_world
from tests.support.nats_fleet import nats_of
from tests.support.sync_parts import fast_directory
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.settings import RetentionSettings
from tidegate.schemas import replace
from tidegate.schemas.audit import AuditedAct
from tidegate.schemas.subjects import HUB
from tidegate.services.evidence.log import AuditLog
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.evidence.verification import Expectation, verify_log
from tidegate.services.evidence.worker import open_audit_worker
from tidegate.sync.trust.keys import KeyStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def path() -> Iterator[Path]:
    with fast_directory() as directory:
        yield Path(directory)


async def test_a_log_is_trimmed_once_another_domain_has_witnessed_it(path: Path) -> None:
    async with open_world(path) as world:
        for domain in (HUB, "site1"):
            with AuditLog.open(world.directory(domain), domain) as log:
                fill(log, 300)
        kept = RetentionSettings(audit_bytes=1)
        async with contextlib.AsyncExitStack() as stack:
            workers = {}
            for domain in (HUB, "site1"):
                bus = await stack.enter_async_context(JetStreamBus.open(nats_of(world.fleet, domain, "audit"), domain))
                settings = replace(world.settings(domain), retention=kept)
                workers[domain] = await stack.enter_async_context(open_audit_worker(settings, bus))
            assert len(world.entries(HUB)) == 301, "no site knows its head yet"
            await world.witnessed("site1", 301)
            await workers["site1"].trim()
            assert [entry.counter for entry in world.entries("site1")] == list(range(256, 302))
            await world.witnessed("site1", 302)  # with that the site has said which head of the hub's it knows
            await workers[HUB].trim()
            assert [entry.counter for entry in world.entries(HUB)] == list(range(256, 302))
        trimmed = world.entries("site1")[-1]
    assert isinstance(trimmed.body, AuditedAct)
    assert (trimmed.kind, trimmed.body.epoch) == ("trimmed", 256)


@pytest.mark.parametrize("has_witness", [False, True])
async def test_a_site_without_a_hub_trims_what_it_has_signed_where_it_is_told_that_it_is_alone(
    path: Path, has_witness: bool
) -> None:
    async with open_world(path) as world:
        with AuditLog.open(world.directory("site1"), "site1") as log:
            fill(log, 600)
        audit = replace(world.settings("site1").audit, has_witness=has_witness)
        kept = RetentionSettings(audit_bytes=1)
        settings = replace(world.settings("site1"), retention=kept, audit=audit)
        login = nats_of(world.fleet, "site1", "audit")
        async with JetStreamBus.open(login, "site1") as bus, open_audit_worker(settings, bus) as worker:
            await worker.follow()
            await worker.trim()
    left = [entry.counter for entry in world.entries("site1")]
    assert left == [*range(0 if has_witness else 512, 601 if has_witness else 602)]
    keys = KeyStore(path / "keys").published().keys
    with AuditReader.open(world.directory("site1")) as reader:
        report = verify_log(reader, Expectation(domain="site1", keys=keys, witnessed={}))
    assert (report.is_good, report.trimmed) == (True, 0 if has_witness else 512)
