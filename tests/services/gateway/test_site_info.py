"""What the page may know of its site: stages, sites, link and questions, each from where it is defined."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from tests.support.gateway_site import Site, site
from tests.support.paths import ROOT
from tests.support.replica_samples import REPLICA_SAMPLES
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import CloudState, CollectionRequest, ReplicaFault, ReplicaStatus, decode, encode
from tidegate.schemas.pack import LabelledQuestion
from tidegate.schemas.subjects import ping, replica_request, token_of
from tidegate.schemas.switch import Switch, SwitchStatus
from tidegate.services.evaluation.client import bearer
from tidegate.services.fleet.access import open_access_keys
from tidegate.services.fleet.endpoints import Endpoints, GatewayFile, decode_state, write_endpoints
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.replica_status import of_tenant, summarise
from tidegate.services.gateway.http.endpoints import SiteEndpoints
from tidegate.services.gateway.http.site_info import (
    EXAMPLE_KINDS,
    LINK_FRESH_S,
    MOST_EXAMPLES,
    REPLICAS_FRESH_S,
    LinkProbe,
    ReplicaProbe,
    choose_examples,
    pipeline_stages,
)
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.packs.findings import PackError
from tidegate.services.packs.load import load_questions
from tidegate.services.pipeline import WORKERS
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio
[REPLICA_STATUS] = (sample for sample in REPLICA_SAMPLES if isinstance(sample, ReplicaStatus))
[POLICY_STATUS] = (each for each in REPLICA_STATUS.artefacts if each.kind == "policy")


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path, http=True, grace_s=0.2) as running:
        yield running


@pytest.fixture
async def http(running: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with running.client() as http:
        yield http


def test_the_stages_are_those_of_the_pipeline_each_after_what_it_reads() -> None:
    stages = pipeline_stages()
    assert sorted(stage.name for stage in stages) == sorted(WORKERS)
    for position, stage in enumerate(stages):
        worker = WORKERS[stage.name]
        assert stage.reads == tuple(map(token_of, worker.accepts))
        writers = [
            n for n, other in enumerate(stages) if set(map(token_of, WORKERS[other.name].emits)) & set(stage.reads)
        ]
        assert all(n < position for n in writers), f"{stage.name} stands before a stage that it waits for"
    assert {stage.name for stage in stages if stage.where == "cloud"} == {"fast-lane", "cloud-verifier"}


async def test_a_site_names_itself_and_the_sites_of_its_machine(running: Site, http: httpx.AsyncClient) -> None:
    alone = (await http.get("/v1/site")).json()
    assert (alone["site"], alone["tenant"]) == ("site1", "kiosk")
    assert alone["sites"] == [{"name": "site1", "url": "/"}]
    urls = {"site2": "http://127.0.0.1:2", "site1": "http://127.0.0.1:1"}
    write_endpoints(running.settings, Endpoints(pid=1, hub=NatsSettings(), sites={}, http=urls))
    fleet = (await http.get("/v1/site")).json()
    assert fleet["sites"] == [{"name": "site1", "url": urls["site1"]}, {"name": "site2", "url": urls["site2"]}]


async def test_the_link_is_down_until_a_hub_answers(running: Site, http: httpx.AsyncClient) -> None:
    assert (await http.get("/v1/site/link")).json() == {"is_up": False, "rtt_ms": None}

    async def answer(_: bytes) -> bytes:
        return encode(CloudState())

    await running.bus.respond(ping("site1"), answer)
    async with asyncio.timeout(10):
        while not (state := (await http.get("/v1/site/link")).json())["is_up"]:
            pass
    assert state["rtt_ms"] >= 0


async def test_many_pages_ask_the_hub_once_and_a_later_one_again() -> None:
    bus, now, pings = MemoryBus("site1"), 0.0, 0
    probe = LinkProbe(bus, "site1", clock=lambda: now)

    async def answer(_: bytes) -> bytes:
        nonlocal pings
        pings += 1
        return b""

    await bus.respond(ping("site1"), answer)
    states = await asyncio.gather(*(probe.measure() for _ in range(20)))
    assert pings == 1
    assert all(state.is_up and state == states[0] for state in states)
    now = LINK_FRESH_S * 0.9
    await probe.measure()
    assert pings == 1
    now = LINK_FRESH_S * 1.1
    await probe.measure()
    assert pings == 2


@pytest.mark.parametrize("language", ["en", "de", "fr", "es"])
async def test_questions_are_the_pack_s_own_in_the_language_asked_for(http: httpx.AsyncClient, language: str) -> None:
    reply = (await http.get("/v1/site/questions", params={"language": language})).json()
    own = {each.text: each for each in load_questions(ROOT / "infra/packs/kiosk")}
    assert reply["language"] == language
    assert 3 <= len(set(reply["questions"])) == len(reply["questions"]) <= MOST_EXAMPLES
    for text in reply["questions"]:
        assert own[text].language == language
        assert own[text].kind in EXAMPLE_KINDS
        assert not own[text].personal


def test_a_pack_without_the_language_gives_its_own_and_one_without_questions_none() -> None:
    def question(n: int, kind: str, language: str = "it") -> LabelledQuestion:
        return LabelledQuestion(id=f"q{n}", text=f"{kind} {n}?", kind=kind, language=language)  # type: ignore[arg-type]

    pack = [question(0, "unsafe"), question(1, "personal"), *(question(n, "answerable") for n in range(2, 40))]
    chosen = choose_examples(pack, "de")
    assert chosen.language == "it"
    assert len(chosen.questions) == MOST_EXAMPLES
    assert {text.split()[0] for text in chosen.questions} == {"answerable"}
    assert choose_examples(pack[:2], "de").questions == ()
    assert choose_examples([], "de").questions == ()
    assert choose_examples([question(1, "hub", "fr")], "fr").questions == ("hub 1?",)


async def test_a_pack_that_cannot_be_read_is_an_error_and_not_an_empty_list(running: Site, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "questions.yaml").write_text("- nonsense: 1\n")
    ingress = Ingress(Settings(pack_dir=str(pack)), running.bus, running.vault)
    endpoints = SiteEndpoints(ingress, (), lambda: b"", heartbeat_s=1.0)
    request = Request({"type": "http", "query_string": b"", "headers": []})
    with pytest.raises(PackError, match=r"questions\.yaml"):
        await endpoints.questions(request)


async def test_a_site_without_the_folder_of_its_pack_has_no_questions_to_show(running: Site, tmp_path: Path) -> None:
    settings = Settings(pack_dir=str(tmp_path / "nothing"))
    endpoints = SiteEndpoints(Ingress(settings, running.bus, running.vault), (), lambda: b"", heartbeat_s=1.0)
    reply = await endpoints.questions(Request({"type": "http", "query_string": b"language=de", "headers": []}))
    assert json.loads(bytes(reply.body))["questions"] == []


async def test_what_a_site_knows_is_asked_once_for_many_pages_and_is_empty_where_nobody_answers(
    running: Site, http: httpx.AsyncClient
) -> None:
    assert (await http.get("/v1/site/replicas")).json() == {
        "is_known": False, "rung": "full", "rung_reason": "", "lease_s": None, "assurance": "", "is_fenced": False,
        "collections": [], "policies": [], "switches": [], "faults": [],
    }  # fmt: skip
    asked, now = list[CollectionRequest](), 0.0

    async def answer(data: bytes) -> bytes:
        asked.append(decode(data, CollectionRequest))
        return encode(REPLICA_STATUS)

    await running.bus.respond(replica_request("status"), answer)
    probe = ReplicaProbe(running.bus, clock=lambda: now)
    summaries = await asyncio.gather(*(probe.summary() for _ in range(20)))
    assert len(asked) == 1
    [collection] = summaries[0].collections
    assert (collection.generation, collection.indexed, collection.lag, collection.age_s) == (412, 411, 10, 0.0)
    assert collection.repaired == {"disk": 1, "lost-delta": 2}
    assert (summaries[0].lease_s, summaries[0].policies[0].epoch) == (300.0, 12)
    now = REPLICAS_FRESH_S * 1.1
    await probe.summary()
    assert len(asked) == 2


async def test_why_a_tenant_is_at_evidence_only_is_said_to_that_tenant_alone(
    running: Site, http: httpx.AsyncClient
) -> None:
    switches = tuple(
        SwitchStatus(switch=Switch(tenant=tenant, is_on=is_on, why=f"{tenant}'s reason"), epoch=1)
        for tenant, is_on in (("kiosk", True), ("bank", True), ("kiosk", False))
    )

    async def answer(_: bytes) -> bytes:
        return encode(msgspec.structs.replace(REPLICA_STATUS, switches=switches))

    await running.bus.respond(replica_request("status"), answer)
    reply = await http.get("/v1/site/replicas")
    assert [(each["tenant"], each["why"]) for each in reply.json()["switches"]] == [("kiosk", "kiosk's reason")]
    assert "bank's" not in reply.text


TENANTS = st.lists(st.sampled_from(["kiosk", "bank", "kiosk2"]), max_size=6)


@given(TENANTS, TENANTS, TENANTS, st.sampled_from(["kiosk", "bank"]))
def test_a_tenant_sees_all_of_its_own_replicas_and_no_word_of_another_s(
    collections: list[str], policies: list[str], switches: list[str], tenant: str
) -> None:
    whole = summarise(
        msgspec.structs.replace(
            REPLICA_STATUS,
            collections=tuple(msgspec.structs.replace(REPLICA_STATUS.collections[0], tenant=t) for t in collections),
            artefacts=tuple(msgspec.structs.replace(POLICY_STATUS, tenant=t) for t in policies),
            switches=tuple(SwitchStatus(switch=Switch(tenant=t, is_on=True, why=f"{t}'s"), epoch=1) for t in switches),
            rung_reason="; ".join(("the link is down", *(f"{t}/default" for t in policies))),
            faults=("bank/manual: kiosk2 has taken it",),
        )
    )
    seen = of_tenant(whole, tenant)
    for kept, had in ((seen.collections, collections), (seen.policies, policies), (seen.switches, switches)):
        assert [each.tenant for each in kept] == [each for each in had if each == tenant]
    assert seen.rung_reason.split("; ") == ["the link is down", *(f"{t}/default" for t in policies if t == tenant)]
    others = {"kiosk", "bank", "kiosk2"} - {tenant}
    named = set(strings_of(msgspec.to_builtins(seen)))
    assert not any(re.search(rf"\b{other}\b", value) for other in others for value in named)
    assert (seen.is_known, seen.rung, seen.lease_s) == (whole.is_known, whole.rung, whole.lease_s)


def strings_of(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from strings_of(each)


async def test_an_operator_of_one_tenant_sees_its_replicas_and_who_operates_the_machine_all(
    running: Site, http: httpx.AsyncClient
) -> None:
    own = REPLICA_STATUS.collections[0]
    both = tuple(msgspec.structs.replace(own, tenant=tenant) for tenant in ("kiosk", "bank"))

    async def answer(_: bytes) -> bytes:
        return encode(msgspec.structs.replace(REPLICA_STATUS, collections=both, faults=("bank: a fault",)))

    await running.bus.respond(replica_request("status"), answer)
    machine = decode_state(StatePaths(running.settings).gateway, GatewayFile).operator_key
    _, operator = open_access_keys(running.settings).issue("bank", "operator", 60_000)
    for key, tenants, faults in ((machine, ["kiosk", "bank"], 1), (operator, ["bank"], 0)):
        reply = (await http.get("/v1/site/replicas", headers=bearer(key))).json()
        assert [each["tenant"] for each in reply["collections"]] == tenants
        assert len(reply["faults"]) == faults
    [mine] = (await http.get("/v1/site/replicas")).json()["collections"]
    assert mine["tenant"] == "kiosk"


@pytest.mark.parametrize("reply", [encode(ReplicaFault(code="busy", reason="busy")), encode(CloudState()), b"?"])
async def test_a_sync_worker_that_says_something_else_is_as_none(reply: bytes) -> None:
    bus = MemoryBus("site1")

    async def answer(_: bytes) -> bytes:
        return reply

    await bus.respond(replica_request("status"), answer)
    assert (await ReplicaProbe(bus).summary()).is_known is False
