"""`tidegate topology`: how long streams keep things is a setting, and a shorter one deletes when a person says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.nats_fleet import STAGES, client_of
from tidegate.brokers.jetstream.declare import declare_fleet, read_topology
from tidegate.brokers.servers.fleet import Fleet, open_fleet
from tidegate.brokers.topology.streams import SECOND_NS
from tidegate.schemas.subjects import ANSWERS, ESCALATIONS, VERDICTS
from tidegate.services.cli import main
from tidegate.services.fleet.endpoints import Endpoints, write_endpoints
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio
HOURS = 5


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(tmp_path, ("site1",)) as servers:
        await declare_fleet(servers, STAGES)
        sites = {name: server.nats for name, server in servers.sites.items()}
        endpoints = Endpoints(pid=1, hub=servers.hub.nats, sites=sites)
        write_endpoints(Settings(state_dir=str(tmp_path)), endpoints)
        yield servers


async def ages(servers: Fleet) -> dict[str, int]:
    """How long streams keep things, in hours."""
    found = {}
    for name, server in {"hub": servers.hub, **servers.sites}.items():
        async with client_of(server) as client:
            streams = (await read_topology(client)).streams
        found.update({f"{name}/{stream}": each["max_age"] // SECOND_NS // 3600 for stream, each in streams.items()})
    return found


async def test_a_shorter_retention_reaches_both_ends_and_is_shown(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for setting in ("ANSWERS_S", "ESCALATIONS_S", "VERDICTS_S"):
        monkeypatch.setenv(f"TIDEGATE_RETENTION__{setting}", str(HOURS * 3600))

    async def topology(*arguments: str) -> tuple[int, str]:
        def run() -> int:
            with pytest.raises(SystemExit) as ended:
                main(["topology", *arguments, "--site", "site1", "--state", str(tmp_path)])
            return int(ended.value.code or 0)

        code = await asyncio.to_thread(run)
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    before = await ages(fleet)
    code, printed = await topology("plan")
    assert code == 1
    assert "update stream ANSWERS (kept for 5 hours)" in printed
    assert "(deletes what is stored beyond it)" in printed
    code, printed = await topology("apply")
    assert code == 1
    assert "--delete-older" in printed
    assert await ages(fleet) == before
    assert (await topology("apply", "--delete-older"))[0] == 0
    after = await ages(fleet)
    shortened = {f"{domain}/{stream}" for domain in ("hub", "site1") for stream in (ESCALATIONS, VERDICTS)}
    assert {stream for stream in after if after[stream] != before[stream]} == {*shortened, f"site1/{ANSWERS}"}
    assert {after[stream] for stream in shortened} == {HOURS}
    assert (await topology("plan"))[0] == 0
