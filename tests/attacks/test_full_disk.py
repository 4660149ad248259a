"""A disk that is full for real: accepted work is kept, new work refused at once, and the site comes back by itself."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.support.gateway_site import EMAIL, Site, site
from tests.support.small_disk import SmallDisk, mounted
from tidegate.brokers.base import StoreStuckError, UnreachableError
from tidegate.brokers.jetstream.api import call
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.room import is_out_of_room, once_there_is_room
from tidegate.brokers.servers.running import find_server_pid
from tidegate.brokers.stage import Retry
from tidegate.brokers.worker import settle
from tidegate.schemas import Asked, Message, Question, Screened
from tidegate.services.gateway.room import MIB, PROBE_EVERY_S, StoreRoom
from tidegate.services.gateway.settings import GatewayLimits
from tidegate.services.pipeline import SITE_WORKERS
from tidegate.services.privacy.vault import Vault

pytestmark = pytest.mark.anyio
ACCEPTED = 16
CHAT = "/v1/chat/completions"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk", mib=32) as disk:
        yield disk


@pytest.fixture
async def running(disk: SmallDisk) -> AsyncIterator[Site]:
    limits = GatewayLimits(min_free_disk_mib=2)
    async with site(disk.path, http=True, server=True, grace_s=60.0, limits=limits) as running:
        yield running


async def ask(http: httpx.AsyncClient, text: str, rid: str) -> httpx.Response:
    headers = {"X-Request-Id": rid, "X-Tidegate-Budget-Ms": "60000"}
    body = {"model": "tidegate", "messages": [{"role": "user", "content": text}]}
    return await http.post(CHAT, json=body, headers=headers)


async def readiness(running: Site) -> tuple[int, str]:
    async with running.client() as http:
        operator = {"Authorization": f"Bearer {running.access_keys['kiosk']}"}
        reply = await http.get("/readyz", headers=operator)
        return reply.status_code, reply.json().get("reason", "")


async def until_stored(running: Site, asks: int) -> None:
    assert isinstance(running.bus, JetStreamBus)
    client = running.bus.link.client
    async with asyncio.timeout(40):
        while (await call(client, "STREAM.INFO.ASKS"))["state"]["last_seq"] < asks:  # noqa: ASYNC110 - a stream tells nobody
            await asyncio.sleep(0.01)


async def until_ready(running: Site) -> None:
    async with asyncio.timeout(40):
        while await readiness(running) != (200, ""):  # noqa: ASYNC110  the site is looked at from outside
            await asyncio.sleep(0.1)


async def test_what_was_accepted_before_the_disk_was_full_is_answered_when_there_is_room_again(
    running: Site, disk: SmallDisk
) -> None:
    async with running.client(timeout=90.0) as http:
        assert (await ask(http, "When do you open?", "before")).status_code == 200
        accepted = [asyncio.create_task(ask(http, "wait here", f"r{n}")) for n in range(ACCEPTED)]
        for _ in accepted:
            await running.arrivals.get()
        await until_stored(running, 1 + ACCEPTED)  # a stage begins while what it is given is being stored
        disk.fill()
        for n in range(5):
            began = time.monotonic()
            refused = await ask(http, "And now?", f"new{n}")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
            assert refused.headers["retry-after"] == "1"
            assert time.monotonic() - began < 5.0
        assert await readiness(running) == (503, "no_room")
        running.may_answer.set()
        await asyncio.sleep(1.0)
        assert not all(task.done() for task in accepted)  # a few fit into pages that were begun
        disk.make_room()
        replies = await asyncio.gather(*accepted)
        assert [reply.status_code for reply in replies] == [200] * ACCEPTED
        await until_ready(running)
        assert (await ask(http, "And now?", "new0")).status_code == 200


async def test_a_frozen_server_costs_no_request_that_was_accepted(running: Site) -> None:
    async with running.client(timeout=90.0) as http:
        accepted = asyncio.create_task(ask(http, "wait here", "frozen"))
        await running.arrivals.get()
        frozen = find_server_pid(Path(running.settings.state_dir) / "nats")
        assert frozen is not None
        os.kill(frozen, signal.SIGSTOP)
        running.may_answer.set()
        assert (await accepted).status_code == 200
        assert find_server_pid(Path(running.settings.state_dir) / "nats") != frozen
        assert (await ask(http, "And now?", "after")).status_code == 200


async def test_what_the_vault_has_no_room_for_is_kept_when_there_is_room(disk: SmallDisk) -> None:
    vault = Vault.open(disk.path / "vault.sqlite", bytes(32))
    disk.fill()
    values = [("EMAIL", f"{n}{EMAIL}") for n in range(2_000)]
    tries = 0

    async def put() -> list[str]:
        nonlocal tries
        tries += 1
        return list(vault.put_all("kiosk", "ada", values))

    keeping = asyncio.create_task(once_there_is_room(put, again_s=0.05))
    async with asyncio.timeout(10):
        while tries < 3 and not keeping.done():  # noqa: ASYNC110  three tries, however long they take
            await asyncio.sleep(0.01)
    assert not keeping.done()
    disk.make_room()
    tokens = await keeping
    assert vault.detokenise(tokens[-1], "kiosk", "ada", "answer") == values[-1][1]
    vault.close()


class StuckBus(MemoryBus):
    """A store that has no room at first."""

    stuck = 1

    async def publish(self, message: Message, *, id: str, headers: Mapping[str, str]) -> bool:
        if isinstance(message, Screened) and self.stuck:
            self.stuck -= 1
            raise StoreStuckError("nothing is stored")
        return await super().publish(message, id=id, headers=headers)


async def test_an_attempt_that_had_no_room_is_not_counted(disk: SmallDisk) -> None:
    vault = Vault.open(disk.path / "vault.sqlite", bytes(32))
    disk.fill()
    bus, tries = StuckBus("site1"), 0
    stage = replace(SITE_WORKERS[0], retry=Retry(attempts=1))

    async def screen(asked: Asked) -> list[Message]:
        nonlocal tries
        tries += 1
        if tries == 2:
            disk.make_room()
        vault.put_all(asked.tenant, asked.asker, [("EMAIL", f"{n}{EMAIL}") for n in range(2_000)])
        question = Question(text="When?", language="en", intent="hours", intent_confidence=0.9)
        common = {name: getattr(asked, name) for name in ("rid", "tenant", "site", "asked_at_ms", "deadline_at_ms")}
        return [Screened(**common, question=question)]

    asked = Asked(tenant="kiosk", rid="r1", site="site1", text="When?", asker="ada")
    async with bus.subscribe(stage) as inbox:
        await bus.publish(asked, id="r1", headers={})
        delivery = await inbox.next()
        assert delivery is not None
        await settle(stage, screen, delivery, bus)
    assert (tries, bus.stuck) == (2, 0)
    assert await bus.last("PIPE", "pipe.kiosk.screened.r1") is not None
    vault.close()


async def test_what_fails_for_another_reason_is_not_repeated() -> None:
    async def fail() -> None:
        raise UnreachableError("nobody is there")

    with pytest.raises(UnreachableError):
        await once_there_is_room(fail)


def test_what_says_that_there_is_no_room_is_known_wherever_it_comes_from(disk: SmallDisk) -> None:
    disk.fill()
    with pytest.raises(OSError, match="No space left") as full:
        (disk.path / "more").write_bytes(b"x" * 4096)
    assert is_out_of_room(full.value)
    assert is_out_of_room(OSError(errno.EDQUOT, "quota"))
    assert is_out_of_room(StoreStuckError("nothing is stored"))
    wrapped = RuntimeError("an index cannot be written")
    wrapped.__cause__ = full.value
    assert is_out_of_room(wrapped)
    for other in (OSError(errno.EACCES, "no"), sqlite3.OperationalError("locked"), TimeoutError(), RuntimeError()):
        assert not is_out_of_room(other)


def test_a_stream_that_stores_nothing_is_tried_now_and_then_and_nobody_waits_for_it(tmp_path: Path) -> None:
    now_s = [0.0]
    room = StoreRoom(tmp_path, 0, lambda: now_s[0])
    assert room.may_store()
    room.is_stuck()
    assert (room.fault, room.may_store()) == ("store_stuck", False)
    now_s[0] = PROBE_EVERY_S
    assert [room.may_store() for _ in range(3)] == [True, False, False]
    room.has_stored()
    assert (room.fault, room.may_store()) == ("", True)


def test_less_than_what_must_be_free_is_no_room(disk: SmallDisk) -> None:
    assert StoreRoom(disk.path, 8).fault == ""
    (disk.path / "big").write_bytes(bytes(26 * MIB))
    assert StoreRoom(disk.path, 8).fault == "no_room"


def test_a_state_directory_that_is_not_made_yet_has_the_room_of_its_disk(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(disk.path)
    paths = (disk.path / "not" / "made", Path(".tidegate"))
    assert [StoreRoom(path, 8).fault for path in paths] == ["", ""]
    (disk.path / "big").write_bytes(bytes(26 * MIB))
    assert [StoreRoom(path, 8).fault for path in paths] == ["no_room", "no_room"]
