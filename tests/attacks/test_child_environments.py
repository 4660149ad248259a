"""What this process knows by its environment, passphrases and API keys, is in no child's that has no need of it: a file
that takes over what parses it, or a client that takes over what listens, finds none there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.brokers.process.child_environment import PASSED_ON, plain_environment, without_settings
from tidegate.brokers.servers.kept_server import KeptServer
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.servers.ports import choose_port
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.deployment import plan_programs
from tidegate.services.fleet.fork_server import ForkServer
from tidegate.services.fleet.provision import provision_site
from tidegate.services.fleet.supervisor import Program
from tidegate.services.fleet.worker_replicas import withheld_passphrases
from tidegate.services.knowledge.ingest.reader import DocumentReader
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio

ROOT, OTHERS = "TIDEGATE_ROOT_PASSPHRASE", "TIDEGATE_KEYS_PASSPHRASE"
SECRETS = {ROOT: "battery-staple", OTHERS: "correct-horse", "OPENAI_API_KEY": "sk-attacks", "LEAF_PASSWORD": "for-conf"}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def environment_of(pid: int) -> str:
    """All of what a process was started with: its environment, and its command line."""
    process = Path("/proc") / str(pid)
    return (process / "environ").read_text() + (process / "cmdline").read_text()


def test_what_parses_documents_has_no_secret_and_reads_them(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<h1>Fees</h1><p>The card costs 5 euros.</p>")
    with DocumentReader() as reader:
        assert "5 euros" in reader.read(tmp_path / "a.html").text
        assert isinstance(reader._process, subprocess.Popen)
        found = environment_of(reader._process.pid)
    assert "OMP_NUM_THREADS" in found, "this is its environment"
    assert not [value for value in SECRETS.values() if value in found]


async def test_a_server_of_up_has_no_secret(tmp_path: Path) -> None:
    async with Server("site1", tmp_path / "nats") as server:
        assert server.pid is not None
        found = environment_of(server.pid)
    assert "PATH=" in found
    assert not [value for value in SECRETS.values() if value in found]


async def test_a_server_of_an_operators_file_has_what_its_file_refers_to_and_nothing_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "nats.conf"
    ports = f'port: {choose_port("127.0.0.1")}\nhttp: "127.0.0.1:{choose_port("127.0.0.1")}"'
    file.write_text(f'host: "127.0.0.1"\n{ports}\njetstream {{ store_dir: "{tmp_path}/js" }}\n')
    server = KeptServer("site1", file)
    await server.start(20.0)
    try:
        assert server.pid is not None
        found = environment_of(server.pid)
    finally:
        server.stop(5.0)
    assert SECRETS["LEAF_PASSWORD"] in found, "a file may say $LEAF_PASSWORD"
    assert SECRETS[ROOT] not in found
    assert SECRETS[OTHERS] not in found


def passphrases_of(program: Program) -> set[str]:
    """Which passphrases a worker gets."""
    given = {**os.environ, **program.env}
    return {name for name in (ROOT, OTHERS) if given.get(name)}


@pytest.mark.parametrize("is_per_stage", [False, True])
def test_a_worker_that_signs_nothing_has_no_passphrase_and_none_has_that_of_the_root(
    tmp_path: Path, is_per_stage: bool
) -> None:
    settings = Settings(state_dir=str(tmp_path))
    provision_site(settings, "site1")
    programs = plan_programs(settings, {HUB: "nats://hub", "site1": "nats://one"}, per_stage=is_per_stage)
    given = {program.name: passphrases_of(program) for program in programs}
    signs = {name for name in given if name.partition("/")[2] in ("all", "audit", "sync")}
    assert signs
    assert {name for name, found in given.items() if found} == signs
    assert {name for name, found in given.items() if ROOT in found} == set()
    forks = {program.forked_by for program in programs if program.forked_by is not None}
    assert [fork for fork in forks if {name for name in (ROOT, OTHERS) if {**os.environ, **fork._env}.get(name)}] == []
    assert all(isinstance(fork, ForkServer) for fork in forks)
    assert bool(forks) == is_per_stage


def test_what_is_not_set_is_not_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ROOT)
    assert withheld_passphrases("gateway") == {OTHERS: ""}


@given(
    st.dictionaries(
        st.sampled_from((*PASSED_ON, *SECRETS, "LC_ALL", "AWS_SECRET_ACCESS_KEY", "GOOGLE_API_KEY")), st.text()
    )
)
def test_no_name_that_is_not_listed_is_passed_on(environment: dict[str, str]) -> None:
    plain = plain_environment(environment)
    assert plain == {name: value for name, value in environment.items() if name in PASSED_ON or name == "LC_ALL"}
    assert without_settings(environment).keys() == environment.keys() - {ROOT, OTHERS}
