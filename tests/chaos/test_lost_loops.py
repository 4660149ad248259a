"""The loop over real servers and a real link: what it costs when all is well, and nothing lost when not."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest

from loadtests.bench.race_sites import linked_servers
from loadtests.link.link import Link
from tests.support import tiny_models
from tests.support.escalation_site import fact, prepared
from tests.support.verification_hub import CONTEXT, LOOP, WHO, Cloud, asked, cloud
from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.process.lifecycle import resolve
from tidegate.brokers.worker import run
from tidegate.schemas import Escalated, Published, Retrieved, Suggestion, Verified, decode
from tidegate.schemas.subjects import ANSWERS, ESCALATIONS, PIPE, VERDICTS
from tidegate.schemas.verification_subjects import all_verification_sessions, verification_session
from tidegate.services.fleet.deployment import plan_programs
from tidegate.services.fleet.supervisor import Supervisor
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.pipeline import WORKERS
from tidegate.services.settings import Settings
from tidegate.services.stages.cloud_verifier.handler import verify
from tidegate.services.uplink.single_flight import SingleFlight

pytestmark = pytest.mark.anyio

PATIENCE_S = 90.0
PLAN = msgspec.structs.replace(LOOP, draft_length=32)
ROUNDS = 3
"""In which round something happens to the loop; it takes five at least."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped models, with a small language model at either end, the same one: few rounds, but some."""
    directory = tmp_path_factory.mktemp("models")
    shipped = Path(".models").resolve()
    for entry in shipped.iterdir():
        if entry.name != "lm":
            (directory / entry.name).symlink_to(entry)
    for name in ("target", "draft"):
        tiny_models.save(directory / "lm" / name, seed=4, context=CONTEXT)
    return directory


class Whole(msgspec.Struct):
    """A site and its hub, linked."""

    settings: Settings
    site: JetStreamBus
    hub: JetStreamBus
    cloud: Cloud
    link: Link
    requests: int = 0
    in_round: Callable[[], Awaitable[None]] | None = None
    """What happens when the hub has got as many requests as there are `ROUNDS`."""

    async def hear(self, _: str, __: bytes) -> None:
        self.requests += 1
        if self.requests == ROUNDS and self.in_round is not None:
            await self.in_round()

    async def put(self, rid: str) -> Retrieved:
        """A question that only the hub can answer reaches the drafter."""
        now_ms = int(time.time() * 1000)
        put = fact(Retrieved, WHO, plan_=PLAN, rid=rid, asked_at_ms=now_ms, deadline_at_ms=now_ms + 60_000)
        await self.site.publish(put, id=rid, headers={})
        return put

    async def answered(self, put: Retrieved) -> Published:
        """The one answer, and the receipt that says how it came about."""
        subject = f"answers.{put.tenant}.{put.rid}"
        async with asyncio.timeout(PATIENCE_S):
            while not (stored := await self.site.read(ANSWERS, subject)):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)
        assert len(stored) == 1
        return decode(stored[0][1], Published)

    async def stored(self, stream: str, subject: str) -> list[bytes]:
        return [data for _, data in await (self.hub if stream == VERDICTS else self.site).read(stream, subject)]


@asynccontextmanager
async def whole(tmp_path: Path, models: Path, *, in_process: tuple[str, ...]) -> AsyncIterator[Whole]:
    """Servers, topology, the hub's verifier on both lanes, and these stages of the site."""
    settings = msgspec.structs.replace(prepared(), models_dir=str(models))
    async with AsyncExitStack() as stack:
        servers, links = await stack.enter_async_context(linked_servers(tmp_path, ["site1"]))
        await declare_fleet(servers, tuple(WORKERS.values()))
        site, hub = [
            await stack.enter_async_context(JetStreamBus.open(server.nats, server.name))
            for server in (servers.sites["site1"], servers.hub)
        ]
        made = await stack.enter_async_context(cloud(hub, CausalLM(models / "lm" / "target")))
        settings = msgspec.structs.replace(settings, nats=servers.sites["site1"].nats)
        all_ = Whole(settings, site, hub, made, links["site1"])
        await patiently(partial(site.request, verification_session("site1", "kiosk"), b"", timeout_s=5.0))
        for sessions in all_verification_sessions("site1"):
            await hub.listen(sessions, all_.hear)
        stop = asyncio.Event()
        flight = SingleFlight(
            partial(verify, answer=made.answerer.answer, suggest=find_nothing, sure_from=lambda _: 0.0)
        )
        stages = [WORKERS[name] for name in in_process]
        handlers = [await stack.enter_async_context(resolve(stage)(settings, site)) for stage in stages]
        for stage in stages:
            await patiently(partial(site.pending, stage))
        await patiently(partial(hub.pending, WORKERS["cloud-verifier"]))
        async with asyncio.TaskGroup() as running:
            running.create_task(run(WORKERS["cloud-verifier"], flight.verdict, hub, stop))
            for stage, handler in zip(stages, handlers, strict=True):
                running.create_task(run(stage, handler, site, stop))
            try:
                yield all_
            finally:
                stop.set()
        await flight.close()


async def find_nothing(_: Escalated) -> tuple[Suggestion, ...]:
    return ()


async def patiently(ask: Callable[[], Awaitable[object]]) -> None:
    """Return when it is answered: servers that were just started may still be busy, an interest not yet known."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await ask()
                return
            except UnreachableError:
                await asyncio.sleep(0.02)


JUDGES = ("policy", "publisher")


async def test_a_question_is_answered_by_the_loop_and_goes_up_no_other_way(tmp_path: Path, models: Path) -> None:
    async with whole(tmp_path, models, in_process=("drafter", *JUDGES)) as all_:
        put = await all_.put("r1")
        published = await all_.answered(put)
        assert published.receipt.degradations == ()
        spent_ms = {line.stage: line.worked_ms for line in published.timings}
        assert spent_ms["cloud-verifier"] > 0, "the hub's part is named"
        (verified,) = await all_.stored(PIPE, f"pipe.kiosk.verified.{put.rid}")
        assert await all_.stored(ESCALATIONS, f"escalations.site1.kiosk.{put.rid}") == []
        assert await all_.stored(VERDICTS, f"verdicts.site1.kiosk.{put.rid}") == []
        speculation = published.receipt.speculation
        assert speculation == all_.cloud.counted[-1]
        assert speculation.steps == all_.requests > ROUNDS, "a pass for each request"
        answer, _ = await all_.cloud.answerer.answer(asked())
        assert all_.cloud.generated[0] == all_.cloud.generated[1], (
            "the session generates what the target generates alone"
        )
        assert decode(verified, Verified).answer.text == answer.text
        assert published.receipt.plan is not None
        assert published.receipt.plan.mode == "remote_speculation"
        assert published.receipt.route == "cloud"


@pytest.mark.parametrize("outage", ["cut", "stalled"])
async def test_a_link_that_is_lost_in_mid_loop_leaves_the_question_to_the_durable_lane_and_one_answer(
    tmp_path: Path, models: Path, outage: str
) -> None:
    async with whole(tmp_path, models, in_process=("drafter", *JUDGES)) as all_:

        async def lose() -> None:
            all_.link.cut() if outage == "cut" else all_.link.stall()

        all_.link.set(rtt_ms=100)
        all_.in_round = lose
        put = await all_.put("r1")
        async with asyncio.timeout(PATIENCE_S):
            while not (stored := await all_.stored(ESCALATIONS, f"escalations.site1.kiosk.{put.rid}")):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        escalated = decode(stored[0], Escalated)
        (given_up,) = escalated.degradations
        assert (given_up.stage, given_up.level) == ("drafter", "no_remote_speculation")
        assert "cannot be reached" in given_up.reason
        all_.link.heal()
        published = await all_.answered(put)
        (verdict,) = await all_.stored(VERDICTS, f"verdicts.site1.kiosk.{put.rid}")
        assert "Philippa Okonjo" in decode(verdict, Verified).answer.text
        assert await all_.stored(PIPE, f"pipe.kiosk.verified.{put.rid}") == []
        assert published.receipt.degradations == (given_up,)
        assert published.receipt.route == "cloud"


@pytest.mark.system
async def test_a_drafter_that_is_killed_in_mid_loop_is_followed_by_one_that_answers_once(
    tmp_path: Path, models: Path
) -> None:
    async with whole(tmp_path, models, in_process=JUDGES) as all_:
        urls = {"site1": all_.settings.nats.url}
        found = plan_programs(all_.settings, urls, per_stage=True)
        (program,) = [each for each in found if each.name == "site1/drafter"]
        seed = {"TIDEGATE_NATS__NKEY_SEED_FILE": str(tmp_path / "keys" / "site1.drafter.nk")}
        program = msgspec.structs.replace(program, env={**program.env, **seed})
        async with Supervisor([program], grace_s=15.0) as supervisor:

            async def kill() -> None:
                os.kill(supervisor.children["site1/drafter"].pid, signal.SIGKILL)

            all_.in_round = kill
            put = await all_.put("r1")
            published = await all_.answered(put)
            assert supervisor.children["site1/drafter"].restarts == 1
        assert all_.requests > ROUNDS
        assert len(all_.cloud.generated) == 2, "the session that was broken off, and the one that came to its end"
        assert len(await all_.stored(PIPE, f"pipe.kiosk.verified.{put.rid}")) == 1
        assert await all_.stored(ESCALATIONS, f"escalations.site1.kiosk.{put.rid}") == []
        assert published.receipt.speculation == all_.cloud.counted[-1]
