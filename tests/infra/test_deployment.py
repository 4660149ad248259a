"""What is deployed names only what exists: commands, workers, metrics."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
from inspect import signature

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from tests.support.compose import COMPOSE, compose, interpolate
from tests.support.paths import ROOT
from tidegate.brokers.process.config import load
from tidegate.brokers.servers.kept_server import START_WITHIN_S, KeptServer
from tidegate.services.cli import COMMANDS, cli
from tidegate.services.fleet.models import BUILDERS
from tidegate.services.fleet.roles import SYNC
from tidegate.services.pipeline import HUB_WORKERS, SITE_WORKERS
from tidegate.services.settings import Settings

INFRA = ROOT / "infra"


UNITS = sorted(path.name for path in (INFRA / "systemd").glob("*.service"))
CONTAINERFILES = ("Containerfile.edge", "Containerfile.hub")


def unit(name: str) -> dict[str, list[str]]:
    """A unit's settings by name; systemd lets one be given more than once."""
    settings: dict[str, list[str]] = {}
    for line in (INFRA / "systemd" / name).read_text().splitlines():
        if "=" in line and not line.startswith(("#", " ")):
            key, _, value = line.partition("=")
            settings.setdefault(key, []).append(value)
    return settings


def commands_of_compose() -> list[list[str]]:
    return [service["command"] for service in compose()["services"].values() if "entrypoint" not in service]


def commands_of_units() -> list[list[str]]:
    words = [shlex.split(line) for name in UNITS for line in unit(name)["ExecStart"]]
    found = [line for line in words if line[0].endswith("/tidegate")]
    return [[word.replace("${SITE}", site) for word in line[1:]] for line in found for site in sites_of(line)]


def sites_of(line: list[str]) -> tuple[str, ...]:
    """The domains that a unit's command is for: one whose unit is for both is run as either."""
    if "${SITE}" not in line:
        return ("hub",)
    return ("site1", "hub") if "sync" in line else ("site1",)


def commands_of_containers() -> list[list[str]]:
    files = [INFRA / "containers" / name for name in CONTAINERFILES]
    found = [re.findall(r"^CMD (\[.*\])$", path.read_text(), re.MULTILINE) for path in files]
    return [YAML(typ="safe").load(command) for [command] in found]


ALL_COMMANDS = commands_of_compose() + commands_of_units() + commands_of_containers()


@pytest.mark.parametrize("command", ALL_COMMANDS, ids=" ".join)
def test_every_command_that_is_deployed_exists_with_its_options(command: list[str]) -> None:
    assert command[0] in COMMANDS

    answer = CliRunner().invoke(cli, [*command, "--help"])

    assert answer.exit_code == 0, answer.output
    assert CliRunner().invoke(cli, [*command, "--no-such-option", "--help"]).exit_code == 2


@pytest.mark.parametrize("command", [each for each in ALL_COMMANDS if each[0] == "worker"], ids=" ".join)
def test_every_worker_that_is_deployed_belongs_to_its_domain(command: list[str]) -> None:
    _, name, _, site = command
    there = HUB_WORKERS if site == "hub" else SITE_WORKERS

    assert name in {stage.name for stage in there} | {"all", SYNC} | ({"gateway"} if site != "hub" else set())


def test_every_site_has_every_worker_once_and_the_hub_has_its_own() -> None:
    started = sorted(tuple(command[1::2]) for command in commands_of_compose() if command[0] == "worker")
    expected = [(name, "hub") for name in [*(stage.name for stage in HUB_WORKERS), SYNC]]
    for site in ("site1", "site2"):
        expected += [(name, site) for name in [*(stage.name for stage in SITE_WORKERS), "gateway", SYNC]]

    assert started == sorted(expected)


def test_a_service_waits_only_for_services_and_mounts_only_volumes_that_there_are() -> None:
    document = compose()
    services = document["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        mounted = {mount.split(":")[0] for mount in service.get("volumes", ())}
        assert {each for each in mounted if not each.startswith(".")} <= set(document["volumes"]), name
        assert set(service.get("networks", ())) <= set(document["networks"]), name


def test_a_service_is_on_its_own_network_and_only_servers_meet_those_of_other_domains() -> None:
    meeting = {"nats": {"wan"}, "topology": {"hub"}}
    for name, service in compose()["services"].items():
        if service.get("network_mode") == "none":
            continue
        domain, _, role = name.partition("-")
        assert set(service["networks"]) == {domain} | meeting.get(role, set()), name


def test_every_nats_server_that_is_deployed_is_kept_up_by_its_health() -> None:
    servers = {name: each for name, each in compose()["services"].items() if name.endswith("-nats")}
    assert set(servers) == {"hub-nats", "site1-nats", "site2-nats"}
    for name, service in servers.items():
        domain = name.removesuffix("-nats")
        assert service["command"] == ["server", "run", f"/etc/tidegate/{domain}/nats.conf", "--site", domain]
        assert "entrypoint" not in service
    settings = unit("tidegate-nats.service")
    assert settings["ExecStart"] == [
        "/opt/tidegate/venv/bin/tidegate server run /etc/tidegate/nats.conf --site ${SITE}"
    ]
    assert (settings["Type"], settings["NotifyAccess"]) == (["notify"], ["main"]), "it says when it is ready"
    assert settings["WatchdogSec"] == ["30"]
    [start], [stop] = settings["TimeoutStartSec"], settings["TimeoutStopSec"]
    assert float(start) > START_WITHIN_S
    assert float(stop) > signature(KeptServer.stop).parameters["grace_s"].default


@pytest.mark.parametrize("site", ["site1", "site2"])
def test_a_site_s_server_follows_the_accounts_that_its_gateway_s_commands_write(site: str) -> None:
    services = compose()["services"]
    [file] = {
        services[name]["environment"]["TIDEGATE_APPLICATIONS_FILE"] for name in (f"{site}-nats", f"{site}-gateway")
    }
    for name in (f"{site}-nats", f"{site}-gateway"):
        assert f"{site}-applications:{file.rpartition('/')[0]}" in services[name]["volumes"], "and may write it"
    configured = services["configure"]["command"]
    assert configured[configured.index("--applications") + 1] == file
    assert unit("tidegate-nats.service")["Environment"][-1].endswith("=/etc/tidegate/applications.conf")


def settings_of_compose() -> list[dict[str, str]]:
    return [service["environment"] for service in compose()["services"].values() if "environment" in service]


def settings_of_files() -> list[dict[str, str]]:
    texts = [path.read_text() for path in (*INFRA.glob("containers/Containerfile.*"), *INFRA.glob("systemd/*.service"))]
    return [dict(re.findall(r"\b(TIDEGATE_[A-Z_]+)=(\S+)", text)) for text in texts]


@pytest.mark.parametrize("environment", settings_of_compose() + settings_of_files(), ids=",".join)
def test_every_setting_that_is_deployed_exists(environment: dict[str, str]) -> None:
    load(Settings, None, environment)


def test_who_counts_and_monitors_is_on_the_machine_itself() -> None:
    """Metrics name tenants and sites, and a monitoring port tells everything: neither asks who reads it."""
    deployed = [path for folder in ("compose", "containers", "systemd") for path in (INFRA / folder).iterdir()]
    assert not [path.name for path in deployed if path.is_file() and "METRICS_HOST" in path.read_text()]
    for service in compose()["services"].values():
        assert not [port for port in service.get("ports", ()) if port.endswith((":8222", ":9100"))]
    for path in (INFRA / "nats").glob("*.conf"):
        listens = re.findall(r"^http\w*:.*?(\S+)\s*(?:#.*)?$", path.read_text(), re.MULTILINE)
        assert listens == ['"127.0.0.1:8222"'], path.name


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_well_formed_and_confined(name: str) -> None:
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read(INFRA / "systemd" / name)

    assert parser.sections() == ["Unit", "Service", "Install"]
    confined = {"NoNewPrivileges": "yes", "ProtectSystem": "strict", "CapabilityBoundingSet": "", "User": "tidegate"}
    assert {key: parser["Service"][key] for key in confined} == confined
    assert int(parser["Service"]["TimeoutStopSec"]) > 10, "longer than a drain may take"


@pytest.mark.parametrize(
    "file",
    [
        *(f"containers/{name}" for name in CONTAINERFILES),
        *(f"systemd/{name}" for name in UNITS if name != "tidegate-nats.service"),
    ],
)
def test_the_inference_runtime_reports_to_nobody_where_it_is_deployed(file: str) -> None:
    assert re.search(r"\bORT_DISABLE_TELEMETRY=1\b", (INFRA / file).read_text())


@pytest.mark.parametrize("name", CONTAINERFILES)
def test_a_container_is_nobody_s_root_and_says_how_it_is(name: str) -> None:
    text = (INFRA / "containers" / name).read_text()
    last = text[text.rindex("\nFROM ") :]

    assert "\nUSER tidegate\n" in last
    assert "\nHEALTHCHECK " in last
    assert "\nSTOPSIGNAL SIGTERM\n" in last
    assert all((ROOT / source).exists() for source in copied(text)), "what is copied is there"


def copied(text: str) -> list[str]:
    """The sources of every COPY from the source tree."""
    lines = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line]
    return [source for line in lines for source in line]


@pytest.mark.parametrize("file", [*(f"infra/containers/{name}" for name in CONTAINERFILES), "docs/deployment.md"])
def test_every_model_is_built_wherever_a_domain_is_set_up(file: str) -> None:
    """What lacks one starts all the same: a hub without `ner` looks for no names, and says so once in its log."""
    built = re.findall(r"-m (tidegate\.infra\.models\.export\.\w+) --out (?:/opt/tidegate)?/models/(\w+)", read(file))

    assert {name: module for module, name in built} == BUILDERS


def read(file: str) -> str:
    return (ROOT / file).read_text()


@pytest.mark.parametrize("name", CONTAINERFILES)
def test_no_image_holds_a_pack_or_names_one(name: str) -> None:
    text = (INFRA / "containers" / name).read_text()
    packs = [path.parent for path in ROOT.glob("infra/**/intents.yaml")]

    assert packs, "there are packs to look for"
    for source in map(ROOT.joinpath, copied(text)):
        assert not [pack for pack in packs if pack == source or source in pack.parents], source
    assert "TIDEGATE_PACK_DIR" not in text
    assert "!infra/packs" not in (ROOT / ".dockerignore").read_text().splitlines()


def test_a_pack_is_mounted_where_it_is_published_and_nowhere_else() -> None:
    services = compose()["services"]
    mounted = {name for name, each in services.items() if any(":/packs" in mount for mount in each.get("volumes", ()))}

    assert mounted == {"hub-publish"}
    [mount] = [each for each in services["hub-publish"]["volumes"] if ":/packs" in each]
    source, target, mode = mount.split(":")
    directory = services["hub-publish"]["command"][-1]
    assert (mode, directory.startswith(f"{target}/")) == ("ro", True)
    assert (INFRA / "compose" / source / directory.removeprefix(f"{target}/") / "intents.yaml").exists()


def test_a_site_is_provisioned_before_its_workers_start_and_answers_without_a_hub_after_that() -> None:
    services = compose()["services"]
    for name, service in services.items():
        domain, _, _ = name.partition("-")
        if service["command"][0] == "worker" and domain != "hub":
            assert set(service["depends_on"]) == {f"{domain}-topology", f"{domain}-provision"}, name
            own = {"etc", f"{domain}-state", *([f"{domain}-applications"] if name.endswith("-gateway") else [])}
            assert {mount.split(":")[0] for mount in service["volumes"]} == own, name
        if name.endswith("-provision"):
            assert service["command"] == ["site", "add", domain, "--into", "/mnt/site"]
            assert service["volumes"] == ["hub-state:/var/lib/tidegate", f"{domain}-state:/mnt/site"]
            assert service["network_mode"] == "none"


def test_docker_reads_the_file_and_finds_what_we_find() -> None:
    docker = ["docker", "compose"]
    if shutil.which("docker") is None or subprocess.run([*docker, "version"], check=False).returncode:
        pytest.skip("Docker Compose is not installed")
    command = [*docker, "-f", str(COMPOSE), "config", "--format", "json"]
    read = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    assert set(json.loads(read.stdout)["services"]) == set(compose()["services"])


def test_what_compose_may_be_told_by_the_environment_has_defaults() -> None:
    text = "${A:-x} and ${B:-}"

    assert interpolate(text, {"B": "y"}) == "x and y"
    assert interpolate(text, {}) == "x and "


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_names_only_what_exists_where_it_is_installed(name: str) -> None:
    settings = unit(name)
    named = {word for key in ("After", "Wants") for line in settings.get(key, []) for word in line.split()}
    programs = {shlex.split(line)[0] for key, lines in settings.items() if key.startswith("Exec") for line in lines}

    assert {each for each in named if each.startswith("tidegate")} <= set(UNITS)
    assert programs <= {"/bin/kill", "/opt/tidegate/venv/bin/tidegate", "/opt/tidegate/venv/bin/nats-server"}
    text = (INFRA / "systemd" / name).read_text()
    assert not re.search(r"pack|prepare", re.sub(r"^#.*$", "", text, flags=re.MULTILINE))
    for path in re.findall(r"\b(?:docs|infra)/[\w/.-]*\w", text):
        assert (ROOT / path).exists(), path
