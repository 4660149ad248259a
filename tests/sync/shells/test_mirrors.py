"""What a site was granted later, or lost with its server's disk, comes into its mirrors: over the leaf, by itself."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest
from nats.aio.client import Client

from tests.support.nats_fleet import STAGES, arrived, client_of, count
from tests.support.sync_fleet import NOTICES, eventually, sync_fleet
from tidegate.brokers.jetstream.api import JetStreamApiError
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.jetstream.repair import read_origin
from tidegate.schemas import replace
from tidegate.schemas.subjects import CORPUS, HUB

pytestmark = pytest.mark.anyio


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
        at_hub = (await fleet.bus(HUB)).link.client

        async def is_acknowledged() -> bool:  # only then the hub does not send it again
            return (await read_origin(at_hub, CORPUS, "site1")).acknowledged == 3

        await eventually(is_acknowledged)
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
