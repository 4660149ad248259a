"""What a site was granted later, or lost with a disk of either end, comes into its mirrors over the leaf by itself."""

from __future__ import annotations

import contextlib
import random
import shutil
from pathlib import Path

import msgspec
import pytest
from nats.aio.client import Client

from tests.support.nats_fleet import STAGES, acknowledged, arrived, client_of, count
from tests.support.snapshot_options import with_snapshots
from tests.support.sync_fleet import NOTICES, eventually, sync_fleet, until
from tidegate.brokers.base import TopologyMissingError
from tidegate.brokers.jetstream.api import JetStreamApiError
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.jetstream.history import messages
from tidegate.schemas import replace
from tidegate.schemas.subjects import CORPUS, HUB
from tidegate.sync.shells import downlink_link

pytestmark = pytest.mark.anyio
SEED = 310


async def mirrored(client: Client, messages: int) -> None:
    """Return when the mirror, which may be missing in between, holds as many."""

    async def has_all() -> bool:
        with contextlib.suppress(JetStreamApiError):
            return await count(client, CORPUS) == messages
        return False

    await eventually(has_all)


async def test_a_mirror_gets_what_lay_before_the_grant_and_before_its_new_disk(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path, ["site1"]) as fleet:
        await fleet.put(replace(NOTICES, name="fees", sites=("site9",)))
        await fleet.write(HUB, {"f1": "one"}, collection="fees")
        await fleet.write(HUB, {"a": "two"})
        await fleet.agree({"a": "two"})
        await fleet.put(replace(NOTICES, name="fees"))  # it lies before the end of the mirror
        async with client_of(fleet.servers.sites["site1"]) as client:
            await mirrored(client, 2)
        assert fleet.texts("site1", "fees") == {"f1": "one"}
        await fleet.write(HUB, {"b": "three"})
        await fleet.agree({"a": "two", "b": "three"})
        # Only then the hub does not send it again.
        await acknowledged((await fleet.bus(HUB)).link.client, CORPUS, "to-site1", 3)
        await fleet.stop("site1")
        server = fleet.servers.sites["site1"]
        server.kill()
        shutil.rmtree(server.directory / "store")
        await server.start()
        async with client_of(server) as client:
            await declare_site(client, "site1", STAGES)  # as `tidegate topology apply` at the site does: nobody rewinds
            await fleet.write(HUB, {"c": "four"})
            await arrived(client, CORPUS, 1)
            assert await count(client, CORPUS) < 4
            await fleet.start("site1")
            await mirrored(client, 4)
        await fleet.agree({"a": "two", "b": "three", "c": "four"})


@pytest.mark.parametrize("since", [0, 6])
async def test_the_mirror_of_a_stream_that_was_rolled_back_is_what_the_hub_has_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, since: int
) -> None:
    monkeypatch.setattr(downlink_link, "TELL_EVERY_S", 0.2)
    async with sync_fleet(tmp_path, ["site1"], **with_snapshots(tmp_path, "site1")) as fleet:
        hub, texts = fleet.servers.hub, {"a": "one"}
        await fleet.write(HUB, {"a": "one"})
        await fleet.agree(texts)
        hub.kill()
        shutil.copytree(hub.directory / "store", tmp_path / "backup")
        await hub.start()
        for name in ("b", "c", "d"):
            texts[name] = "two"
            await fleet.write(HUB, {name: "two"})
        await fleet.agree(texts)
        granted = tmp_path / "site1" / "granted.msgpack"
        await until(lambda: 4 in ends_in(granted), lambda: ends_in(granted))  # the hub was told that it is there
        await fleet.stop("site1")  # what is written until it is back comes past the end of its mirror
        hub.kill()
        shutil.rmtree(hub.directory / "store")
        shutil.copytree(tmp_path / "backup", hub.directory / "store")
        await hub.start()
        for number in range(since):
            texts[f"e{number}"] = "three"
            await fleet.write(HUB, {f"e{number}": "three"})
        await fleet.start("site1")
        async with client_of(hub) as at_hub, client_of(fleet.servers.sites["site1"]) as at_site:
            await mirrors(at_site, at_hub)
        await fleet.agree(texts)


def ends_in(granted: Path) -> dict[int, int]:
    """Where CORPUS ended when the hub was told of it; nowhere, until it was told."""
    if not granted.exists():
        return {}
    return msgspec.msgpack.decode(granted.read_bytes(), type=downlink_link.KnownGrants).ends.get(CORPUS, {})


async def mirrors(site: Client, hub: Client) -> None:
    """Return when the site's mirror, which may be missing in between, holds just what the hub's stream does."""

    async def is_the_same() -> bool:
        with contextlib.suppress(JetStreamApiError, TopologyMissingError):
            return await stored(site) == await stored(hub)
        return False

    await eventually(is_the_same)


async def stored(client: Client) -> list[tuple[int, bytes]]:
    """All of CORPUS, with its sequences."""
    return [(each.sequence, each.data) for each in await messages(client, CORPUS, ">")]


async def test_grants_in_the_middle_of_what_is_written_lose_and_double_nothing(tmp_path: Path) -> None:
    print(f"seed {SEED}")
    random_ = random.Random(SEED)
    async with sync_fleet(tmp_path, ["site1"]) as fleet:
        texts: dict[str, dict[str, str]] = {"notices": {}, "rates": {}, "news": {}}
        for name in ("rates", "news"):
            await fleet.put(replace(NOTICES, name=name, sites=("site9",)))

        async def write(number: int) -> None:
            collection = random_.choice(tuple(texts))
            texts[collection][f"{collection}-{number}"] = "text"
            await fleet.write(HUB, {f"{collection}-{number}": "text"}, collection=collection)

        for number in range(80):
            if number in (20, 50):
                await fleet.put(replace(NOTICES, name="rates" if number == 20 else "news"))
            await write(number)
        await until(lambda: all(fleet.texts("site1", name) == documents for name, documents in texts.items()))
        async with client_of(fleet.servers.hub) as at_hub, client_of(fleet.servers.sites["site1"]) as at_site:
            await mirrors(at_site, at_hub)
