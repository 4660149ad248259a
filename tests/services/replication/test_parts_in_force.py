"""The parts of a pack come into force: a policy at once, whatever is being made; the rest when it is made."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.active_site import ABSTAINS, PARTS, copy_site, files_at, prepare_site, site_at
from tidegate.schemas.errors import RetryLaterError
from tidegate.services.fleet.apply import ArtefactFiles
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.packs.active import PackInForce
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.replication.parts_in_force import PartsInForce, PartsRefusedError, for_each
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio

RENAMED = PARTS["intents/intents"].replace("hours", "opening")


class Offering:
    """What a site is offered, and whether its documents are there."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.files: ArtefactFiles = {}
        self.is_current = True
        self.woken = 0
        self.parts = PartsInForce(settings, lambda _: self.is_current, lambda _: self.files, self._wake)

    def offer(self, policy: int, intents: int) -> None:
        texts = {"policy/branch": ABSTAINS, "intents/intents": PARTS["intents/intents"] if intents == 1 else RENAMED}
        blobs = Path(self.settings.state_dir) / "blobs"
        self.files = files_at(blobs, texts, {"policy/branch": policy, "intents/intents": intents})

    def in_force(self) -> tuple[int, int, tuple[str, ...]]:
        """The epochs of the policy and of the intents, and what the intent head tells apart."""
        store = GenerationStore(StatePaths(self.settings).active("kiosk"))
        record = store.current()
        assert record is not None
        pack = PackInForce.of_generation("kiosk", store.path(record.number), record)
        return record.epochs["policy/branch"], record.epochs["intents/intents"], pack.intent_head.ids

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A site that no test changes, with the parts in force."""
    return prepare_site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def site(prepared: Settings, tmp_path: Path) -> Offering:
    return Offering(copy_site(prepared, tmp_path))


@asynccontextmanager
async def stopped_maker() -> AsyncIterator[None]:
    """Meanwhile the process that makes things stands still."""
    async with asyncio.timeout(30):
        while True:
            if makers := multiprocessing.active_children():
                break
            await asyncio.sleep(0.005)
    [maker] = makers
    assert maker.pid is not None
    os.kill(maker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if maker.is_alive():
            os.kill(maker.pid, signal.SIGCONT)


async def begun(site: Offering) -> Path:
    """The folder in which something is being made by now."""
    folder = StatePaths(site.settings).active("kiosk")
    async with asyncio.timeout(60):
        while True:
            if any(folder.glob(".making-*")):
                return folder
            await asyncio.sleep(0.005)


async def test_a_policy_comes_into_force_while_intents_are_learned(site: Offering) -> None:
    site.offer(policy=1, intents=2)
    assert not await site.parts.apply("kiosk")
    assert site.woken == 1
    assert not await site.parts.apply("kiosk")
    assert site.woken == 1, "it is on its way already"
    making = asyncio.create_task(site.parts.make_all())
    async with stopped_maker():
        site.offer(policy=2, intents=2)
        async with asyncio.timeout(10):
            assert not await site.parts.apply("kiosk")
        assert site.in_force() == (2, 1, ("hours", "despair"))
    await making
    assert site.in_force() == (2, 2, ("opening", "despair")), "what was published meanwhile is not lost"
    assert await site.parts.apply("kiosk")


async def test_what_is_being_made_of_parts_that_have_changed_is_not_made_to_its_end(site: Offering) -> None:
    site.offer(policy=1, intents=2)
    assert not await site.parts.apply("kiosk")
    making = asyncio.create_task(site.parts.make_all())
    await begun(site)
    async with stopped_maker():
        site.offer(policy=1, intents=1)
        async with asyncio.timeout(10):
            with pytest.raises(RetryLaterError, match="meanwhile"):
                await making
        assert not multiprocessing.active_children(), "it was stopped, and is waited for by nobody"
    assert await site.parts.apply("kiosk")
    assert site.in_force() == (1, 1, ("hours", "despair"))


async def test_a_worker_that_ends_does_not_wait_for_what_is_being_made(site: Offering) -> None:
    site.offer(policy=1, intents=2)
    assert not await site.parts.apply("kiosk")
    making = asyncio.create_task(site.parts.make_all())
    folder = await begun(site)
    async with stopped_maker():
        making.cancel()
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError):
                await making
    assert not multiprocessing.active_children()
    await site.parts.make_all()
    assert site.in_force()[1] == 2
    assert not list(folder.glob(".making-*"))


async def test_a_policy_waits_for_no_documents_and_what_is_made_of_them_does(site: Offering) -> None:
    site.is_current = False
    site.offer(policy=3, intents=2)
    assert not await site.parts.apply("kiosk")
    assert site.in_force() == (3, 1, ("hours", "despair"))
    with pytest.raises(RetryLaterError, match="documents of kiosk"):
        await site.parts.make_all()


async def test_where_nothing_is_in_force_the_documents_come_first(tmp_path: Path) -> None:
    site = Offering(site_at(tmp_path / "state"))
    site.is_current = False
    site.offer(policy=1, intents=1)
    with pytest.raises(RetryLaterError, match="documents of kiosk"):
        await site.parts.apply("kiosk")
    assert site.woken == 0


async def test_what_cannot_be_used_is_refused_before_anything_is_made_of_it(site: Offering) -> None:
    broken = {"policy/branch": "policy_id: branch\n", "intents/intents": RENAMED}
    site.files = files_at(Path(site.settings.state_dir) / "blobs", broken, {"policy/branch": 2, "intents/intents": 2})
    with pytest.raises(PartsRefusedError, match="no rules"):
        await site.parts.apply("kiosk")
    assert (site.in_force()[:2], site.woken) == ((1, 1), 0)


@pytest.mark.parametrize("order", [("a", "b", "c"), ("b", "a", "c"), ("c", "b", "a")])
async def test_no_tenant_is_held_up_by_another_and_a_fault_is_said_before_a_wait(order: tuple[str, ...]) -> None:
    done = []

    async def step(tenant: str) -> None:
        if tenant == "a":
            raise RetryLaterError("not yet", after_s=1.0)
        if tenant == "b":
            raise PartsRefusedError("never")
        done.append(tenant)

    with pytest.raises(PartsRefusedError, match="never"):
        await for_each(order, step)
    assert done == ["c"]
