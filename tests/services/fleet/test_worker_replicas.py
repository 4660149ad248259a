"""How many processes of which worker are asked for, and what tells them apart."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.brokers.servers.ports import is_free
from tidegate.schemas import replace
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.deployment import plan_programs
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.worker_replicas import MOST, REPLICABLE, BadReplicasError, name_of_replica, parse_replicas
from tidegate.services.settings import Settings

counts = st.dictionaries(st.sampled_from(REPLICABLE), st.integers(1, MOST))


@given(counts, st.sampled_from(["", " "]))
def test_what_is_asked_for_is_what_is_understood(asked: dict[str, int], blank: str) -> None:
    text = ",".join(f"{blank}{name}{blank}={count}{blank}" for name, count in asked.items())
    assert parse_replicas(text) == asked


@given(st.text(alphabet="drafte=,0129-²x ", max_size=20) | st.text(max_size=20))
def test_any_text_is_understood_or_refused(text: str) -> None:
    with suppress(BadReplicasError):
        found = parse_replicas(text)
        assert all(name in REPLICABLE or count == 1 for name, count in found.items())
        assert all(1 <= count <= MOST for count in found.values())


@pytest.mark.parametrize(
    ("text", "reason", "hint"),
    [
        ("drafter=0", "drafter cannot have 0 processes", "1 to 64"),
        ("drafter=65", "drafter cannot have 65 processes", "1 to 64"),
        ("draftr=2", "no worker 'draftr'", "did you mean 'drafter'"),
        ("sync=2", "only one process of 'sync'", "one writer"),
        ("audit=2", "only one process of 'audit'", "one writer"),
        ("all=2", "only one process of 'all'", "name the stages"),
        ("drafter", "names no worker and a number", "drafter=2"),
        ("drafter=-1", "names no worker and a number", "drafter=2"),
        ("drafter=2,drafter=3", "drafter is named twice", "drafter=2"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(text: str, reason: str, hint: str) -> None:
    with pytest.raises(BadReplicasError, match=reason) as refused:
        parse_replicas(text)
    assert hint in refused.value.hint


def test_each_process_has_a_name_a_log_a_ready_file_and_a_gateway_an_address_of_its_own(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path))
    urls = {HUB: "nats://hub", "site1": "nats://one", "site2": "nats://two"}
    replicas = {"drafter": 3, "gateway": 2, "cloud-verifier": 2}
    one_each = [program.name for program in plan_programs(settings, urls, per_stage=True)]
    programs = plan_programs(settings, urls, per_stage=True, replicas=replicas)
    names = [program.name for program in programs]
    assert set(names) - set(one_each) == {
        "hub/cloud-verifier-2",
        *(f"{site}/{name}" for site in ("site1", "site2") for name in ("drafter-2", "drafter-3", "gateway-2")),
    }
    assert set(one_each) < set(names)
    for own in ("name", "log", "ready", "fault"):
        assert len({getattr(program, own) for program in programs}) == len(programs)
    gateways = [program for program in programs if "/gateway" in program.name]
    assert len({program.env["TIDEGATE_GATEWAY__PORT"] for program in gateways}) == len(gateways) == 4
    assert {program.env["TIDEGATE_REPLICA"] for program in programs} == {"1", "2", "3"}
    assert all(program.argv[-1] == str(os.getpid()) for program in programs), "none outlives this process"


def test_configured_gateways_have_ports_in_a_row(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path))
    host = settings.gateway.host
    free = next(port for port in range(21000, 30000, 8) if all(is_free(host, port + more) for more in range(4)))
    settings = replace(settings, gateway=replace(settings.gateway, port=free))
    urls = {HUB: "nats://hub", "site1": "nats://one", "site2": "nats://two"}
    programs = plan_programs(settings, urls, per_stage=True, replicas={"gateway": 2})
    ports = {each.name: each.env.get("TIDEGATE_GATEWAY__PORT") for each in programs if "/gateway" in each.name}
    assert ports == {
        "site1/gateway": str(free),
        "site2/gateway": str(free + 1),
        "site1/gateway-2": str(free + 2),
        "site2/gateway-2": str(free + 3),
    }


def test_the_first_process_is_called_and_kept_as_the_only_one_is(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path))
    assert [name_of_replica("drafter", number) for number in (1, 2)] == ["drafter", "drafter-2"]
    first, second = (StatePaths(replace(settings, replica=number)) for number in (1, 2))
    assert first.gateway == StatePaths(settings).gateway
    assert {first.gateway, first.gateway_port} & {second.gateway, second.gateway_port} == set()
