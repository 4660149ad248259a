"""A gateway is killed while it tells an answer: whoever comes back to the next one goes on at the same character."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from loadtests.load.dropping import Sse, Transport, Ws
from loadtests.load.resume import differs
from loadtests.load.stream_client import Client
from loadtests.load.stream_site import Play, StreamSite, stream_site
from tidegate.services.fleet.deployment import programs
from tidegate.services.fleet.supervisor import Supervisor

pytestmark = [pytest.mark.anyio, pytest.mark.system]

NAME = "site1/gateway"
PATIENCE_S = 60.0
SENTENCES = [f"Sentence {n} of the answer to {{email}} has words of its own. " for n in range(12)]
FIELDS = json.dumps({f"field{n}": sentence for n, sentence in enumerate(SENTENCES)})
WHOLE = "".join(SENTENCES)
STEPS = [("stands", n) for n in range(60, len(WHOLE), 60)]
PLAYS = {
    "text": Play(WHOLE, WHOLE[:200] + "Otherwise.", [("shows", 210), *STEPS]),
    "json": Play(FIELDS, acts=[("stands", n) for n in range(40, len(FIELDS), 40)], is_json=True),
}


@asynccontextmanager
async def guarded(site: StreamSite) -> AsyncIterator[tuple[Supervisor, dict[str, Transport]]]:
    """The gateway as a process of its own, started again whenever it ends, and the ways to it."""
    await site.close_doors()
    (program,) = [
        each for each in programs(site.settings, {"site1": site.server.url}, per_stage=True) if each.name == NAME
    ]
    port = int(program.env["TIDEGATE_GATEWAY__PORT"])
    async with Supervisor([program], grace_s=15.0) as supervisor:
        yield supervisor, {"sse": Sse("127.0.0.1", port), "ws": Ws("127.0.0.1", port)}


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize("transport", ["sse", "ws"])
async def test_a_stream_goes_on_at_the_same_character_behind_a_killed_gateway(
    tmp_path: Path, transport: str, play: str
) -> None:
    played = PLAYS[play]
    async with stream_site(tmp_path) as site, guarded(site) as (supervisor, ways):
        asked, client, kills = played.asked(), Client(), 0
        telling = asyncio.create_task(site.perform_when_asked(played, asked, 0.1))
        async with asyncio.timeout(PATIENCE_S):
            while not client.is_done:
                heard = asyncio.create_task(ways[transport].ask(asked, client))
                before = len(client.text)
                while not heard.done() and (  # noqa: ASYNC110 - it is another process that tells
                    kills == 2 or len(client.text) <= before + 50 or telling.done()
                ):
                    await asyncio.sleep(0.005)  # the kill comes in the middle of what is told
                if not heard.done():
                    os.kill(supervisor.children[NAME].pid, signal.SIGKILL)
                    kills += 1
                with suppress(OSError, asyncio.IncompleteReadError):
                    await heard
                if not client.is_done:
                    client = client.resumed()
                    await asyncio.sleep(0.05)
        await telling
        assert kills == 2
        assert supervisor.children[NAME].restarts == kills
        assert differs(client, played) == ""
