"""A site that answers and a hub that holds what came from it: what tests of erasing and exporting begin with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway_site import Site, ask, asked, entrance, site
from tests.support.nats_fleet import STAGES
from tidegate.brokers.jetstream.api import connect
from tidegate.brokers.jetstream.declare import declare_hub
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import Published, replace
from tidegate.schemas.subjects import ANSWERS, ASK, ASKS, DEAD, ESCALATIONS, PIPE, TOKENS
from tidegate.services.cli import main
from tidegate.services.fleet.endpoints import Endpoints, write_endpoints
from tidegate.services.settings import Settings

ANN = "operator/ann"
"""Who ann is to the site: the operator asks in her name."""
SHOWN = b"We write to"
"""What the stand-in stages make of a question with personal data: text, with a vault token behind it."""


@dataclass
class World:
    """A site that answers and a hub that holds what came from it, below one state directory."""

    site: Site
    hub: Any
    state: Path

    @property
    def settings(self) -> Settings:
        return self.site.settings

    @property
    def client(self) -> Any:
        bus: Any = self.site.bus
        return bus.link.client

    async def ask(
        self, asker: str, rid: str, text: str = "personal data", tenant: str = "kiosk", **fields: Any
    ) -> Published:
        request = replace(asked(text, asker=asker, rid=rid, **fields), tenant=tenant)
        published = await ask(self.site, request)
        assert isinstance(published, Published)
        return published

    async def command(self, *arguments: str) -> int:
        """The exit code of `tidegate privacy`."""

        def run() -> int:
            with pytest.raises(SystemExit) as ended:
                main(["privacy", *arguments, "--state", str(self.state), "--json"])
            return int(ended.value.code or 0)

        return await asyncio.to_thread(run)

    async def is_written(self) -> None:
        """Return when the site's server has written what it was told."""
        await self.site.ingress.bus.request(entrance(self.site, ASK), b"", timeout_s=2.0)

    def files_with(self, words: bytes) -> set[str]:
        found = (file for file in self.state.rglob("*") if file.is_file() and words in file.read_bytes())
        return {str(file.relative_to(self.state)) for file in found}

    async def stored(self, rid: str) -> set[str]:
        """The streams of the site that hold anything about a request."""
        subjects = {
            ASKS: f"asks.kiosk.{rid}",
            PIPE: f"pipe.kiosk.*.{rid}",
            ANSWERS: f"answers.kiosk.{rid}",
            TOKENS: f"tokens.kiosk.{rid}",
            DEAD: f"dead.*.{rid}",
            ESCALATIONS: f"escalations.*.kiosk.{rid}",
        }
        return {stream for stream, subject in subjects.items() if await messages(self.client, stream, subject)}


@asynccontextmanager
async def erasing_world(tmp_path: Path) -> AsyncIterator[World]:
    """The site and the hub, up."""
    state = tmp_path / "state"
    async with site(state, server=True, grace_s=0.2) as open_site, Server("hub", state / "hub") as server:
        bus: Any = open_site.bus
        url = bus.link.client.connected_url.geturl()
        hub = server.nats
        write_endpoints(open_site.settings, Endpoints(pid=1, hub=hub, sites={"site1": NatsSettings(url=url)}))
        async with connect(hub, "hub") as client:
            await declare_hub(client, ["site1"], STAGES)
            yield World(open_site, client, state)
