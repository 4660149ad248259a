"""A gateway is killed in the middle of an answer: whoever comes back to the next one goes on at the same character."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from loadtests.load.dropping import Sse, Transport, Ws
from loadtests.load.resume import differs
from loadtests.load.stream_client import Client
from loadtests.load.stream_site import Script, StreamSite, stream_site
from tests.support.stream_conformance import wait_until_accepted
from tidegate.schemas import Asked
from tidegate.services.fleet.deployment import plan_programs
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.supervisor import Supervisor

pytestmark = [pytest.mark.anyio, pytest.mark.system]

NAME = "site1/gateway"
PATIENCE_S = 60.0
SENTENCES = [f"Sentence {n} of the answer to {{email}} has words of its own. " for n in range(12)]
FIELDS = json.dumps({f"field{n}": sentence for n, sentence in enumerate(SENTENCES)})
WHOLE = "".join(SENTENCES)
STEPS = [("stands", n) for n in range(60, len(WHOLE), 60)]
SCRIPTS = {
    "text": Script(WHOLE, WHOLE[:200] + "Otherwise.", [("shows", 210), *STEPS]),
    "json": Script(FIELDS, steps=[("stands", n) for n in range(40, len(FIELDS), 40)], is_json=True),
}


@asynccontextmanager
async def guarded(site: StreamSite) -> AsyncIterator[tuple[Supervisor, dict[str, Transport]]]:
    """The gateway as a process of its own, started again whenever it ends, and the ways to it."""
    await site.close_gateway()
    StatePaths(site.settings).calibration.touch()  # as of a domain that answers by a folder: it waits for no pack
    (program,) = [
        each for each in plan_programs(site.settings, {"site1": site.server.url}, per_stage=True) if each.name == NAME
    ]
    port = int(program.env["TIDEGATE_GATEWAY__PORT"])
    async with Supervisor([program], grace_s=15.0) as supervisor:
        yield supervisor, {name: kind("127.0.0.1", port, site.access_key) for name, kind in (("sse", Sse), ("ws", Ws))}


@dataclass
class Reader:
    """A client that comes back whenever it is cut off, and keeps what it shows."""

    transport: Transport
    asked: Asked
    client: Client = field(default_factory=Client)

    async def read(self) -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self.transport.ask(self.asked, self.client)
            if self.client.is_done:
                return
            self.client = self.client.resumed()
            await asyncio.sleep(0.05)

    async def has_shown(self, chars: int) -> None:
        while len(self.client.text) < chars:  # noqa: ASYNC110 - it is another process that sends
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("transport", ["sse", "ws"])
async def test_a_stream_goes_on_at_the_same_character_behind_a_killed_gateway(
    tmp_path: Path, transport: str, script: str
) -> None:
    played = SCRIPTS[script]
    async with stream_site(tmp_path) as site, guarded(site) as (supervisor, ways):
        asked = played.asked()
        reader = Reader(ways[transport], asked)
        reading = asyncio.create_task(reader.read())
        async with asyncio.timeout(PATIENCE_S):
            await wait_until_accepted(site, asked)
            await site.run_script(played, asked, until=4)
            for steps, chars, until in ((4, 100, 8), (8, 250, None)):
                await reader.has_shown(chars)
                os.kill(supervisor.children[NAME].pid, signal.SIGKILL)
                await site.resume_script(played, asked, steps, until)
            await reading
        assert supervisor.children[NAME].restarts == 2
        assert differs(reader.client, played) == ""
