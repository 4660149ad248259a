"""Every promise of a stream is asked of every transport, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from loadtests.load.stream_client import Client
from loadtests.load.stream_site import StreamSite, stream_site
from tests.support.stream_conformance import CASES, Case, check, wait_until_accepted, wait_until_shown
from tests.support.stream_scripts import DRAFT, RETRACTED

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StreamSite]:
    async with stream_site(tmp_path_factory.mktemp("streams")) as running:
        yield running


@pytest.mark.parametrize("name", ["sse", "ws", "nats"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_a_stream(site: StreamSite, case: Case, name: str) -> None:
    [transport] = [transport for transport in site.transports if transport.name == name]
    async with asyncio.timeout(120):  # a hang is a failure; how long a loaded machine takes is not
        await case(site, transport)


async def test_a_restart_of_the_server_costs_a_client_that_stays_one_retraction(site: StreamSite) -> None:
    asked = [RETRACTED.asked() for _ in site.transports]
    clients = [Client() for _ in site.transports]
    pairs = list(zip(site.transports, asked, clients, strict=True))
    receiving = [asyncio.create_task(transport.ask(request, client)) for transport, request, client in pairs]
    for request, client in zip(asked, clients, strict=True):
        await wait_until_accepted(site, request)
        await site.run_script(RETRACTED, request, until=2)
        await wait_until_shown(client, DRAFT[:40])
    site.server.kill()
    await site.server.start()
    async with asyncio.timeout(120):
        for request in asked:
            await site.resume_script_when_back(RETRACTED, request, 2)
        await asyncio.gather(*receiving)
    for client in clients:
        check(RETRACTED, client)
        assert client.retractions == 1
