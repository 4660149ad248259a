"""`tidegate bench` over HTTP and NATS, streaming or not, against a real gateway."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.gateway_site import Site, served_site
from tidegate.brokers.settings import NatsSettings
from tidegate.services.cli import cli
from tidegate.services.cli.bench import LoadPlan, run_bench
from tidegate.services.evaluation.load_clients import LoadQuestions
from tidegate.services.fleet.endpoints import Endpoints, write_endpoints

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async for found in served_site(tmp_path_factory):
        bus: Any = found.bus
        server = NatsSettings(url=bus.link.client.connected_url.geturl())
        write_endpoints(found.settings, Endpoints(pid=1, hub=server, sites={found.settings.site: server}))
        yield found


def plan(*, texts: tuple[str, ...] = ("When do you open?", "withhold it"), **more: Any) -> LoadPlan:
    fields = {"rate": 30.0, "duration_s": 0.7, "seed": 7, "over_nats": False, "streaming": True, "url": "", **more}
    return LoadPlan(**fields, questions=LoadQuestions(texts, "kiosk", 4000))


@pytest.mark.parametrize("over_nats", [False, True], ids=["http", "nats"])
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
async def test_every_way_is_asked_and_timed(
    running: Site, capsys: pytest.CaptureFixture[str], over_nats: bool, streaming: bool
) -> None:
    before = len(running.asked)
    assert await run_bench(running.settings, plan(over_nats=over_nats, streaming=streaming), as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["sent"] == len(running.asked) - before > 5
    assert report["outcomes"].keys() == {"answered", "withheld"}
    assert sum(report["outcomes"].values()) == report["sent"]
    assert (report["refused"], report["failed"], report["unfinished"]) == ({}, {}, 0)
    assert 0 < report["final_ms"]["p50"] <= report["final_ms"]["max"]
    assert bool(report["ttft_ms"]) is streaming
    assert report["seed"] == 7


async def test_refusals_are_counted_by_their_reason_and_shown(
    running: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ("When do you open?", "x" * 40_000)
    assert await run_bench(running.settings, plan(texts=texts, over_nats=True, streaming=False), as_json=False) == 0
    shown = capsys.readouterr().out
    assert "without an answer" in shown
    assert "too_long" in shown
    assert "milliseconds since due" in shown
    assert await run_bench(running.settings, plan(texts=texts[1:], over_nats=True), as_json=False) == 1


async def test_a_gateway_that_is_not_there_is_counted_as_a_failure(
    running: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = plan(url="http://127.0.0.1:9", duration_s=0.2, rate=50.0)
    assert await run_bench(running.settings, elsewhere, as_json=True) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["failed"] == {"ConnectError": report["sent"]}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--rate", "0"), "Invalid value for '--rate'"),
        (("--site", "hub"), "the hub takes no questions"),
        (("--duration", "1"), "no gateway of site1 is up"),
        (("--duration", "1", "--nats"), "nothing is up below"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_reason(
    tmp_path_factory: pytest.TempPathFactory, arguments: tuple[str, ...], reason: str
) -> None:
    state = str(tmp_path_factory.mktemp("nothing"))
    result = CliRunner().invoke(cli, ["bench", *arguments, "--state", state])
    assert result.exit_code != 0
    assert reason in (result.output + str(result.exception))
