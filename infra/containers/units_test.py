"""`make units-test`: sets up a hub's and a site's machine as docs/deployment.md does, each booted by its own systemd,
asks the site from the hub's machine, freezes a server, boots both anew, and stops what runs.

Needs what `make image-test` does, whose edge image is the disk of both, and systemd-nspawn. Nothing but the package
mirrors is reached, and nothing at all once the machines are made.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from .image_hosts import ROOT, ImageTestError, say
from .image_test import QUESTIONS, TOOLS, build, make_base, require_tools
from .unit_machines import Machine, machines, make_machine

USER = "tidegate"
OPERATOR = "/srv/operator"
STATE = "/var/lib/tidegate"
UNITS = {"hub": ("nats", "sync", "hub"), "site1": ("nats", "sync", "site")}
OF_EACH = ["nats.conf", "all.nk", "sync.nk", "tls.pem", "tls.key", "ca.pem"]
FILES = {"hub": OF_EACH, "site1": [*OF_EACH, "applications.conf"]}
AS_HUB = {
    "TIDEGATE_SITE": "hub",
    "TIDEGATE_NATS__URL": "tls://127.0.0.1:4222",
    "TIDEGATE_NATS__TLS_AUTHORITY": "/etc/tidegate/ca.pem",
    "TIDEGATE_NATS__NKEY_SEED_FILE": f"{OPERATOR}/configured/hub/operator.nk",
    "TIDEGATE_STATE_DIR": STATE,
    "TIDEGATE_MODELS_DIR": "/opt/tidegate/models",
}
ASK = """
import json, ssl, sys, urllib.request as r
believed = ssl.create_default_context(cafile="/etc/tidegate/ca.pem")
url, key, question, fact = sys.argv[1:]
body = {"model": "tidegate", "messages": [{"role": "user", "content": question}]}
headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
request = r.Request(url, json.dumps(body).encode(), headers)
answer = json.load(r.urlopen(request, timeout=30, context=believed))["choices"][0]["message"]["content"]
print(answer)
sys.exit(fact not in answer)
"""


def set_up(hub: Machine, site: Machine) -> None:
    """What docs/deployment.md has an operator do, in its order."""
    for machine in (hub, site):
        mine = ["install", "--directory", f"--owner={USER}", f"--group={USER}", "--mode=0750"]
        machine.run(*mine, "/etc/tidegate", STATE, OPERATOR)
    shutil.copy(ROOT / "infra/containers/configure.py", hub.root / "srv")
    shutil.copytree(ROOT / "infra/packs", hub.root / "srv/packs")
    where = ["--out", f"{OPERATOR}/configured", "--etc", "/etc/tidegate", "--state", STATE]
    hub.run("python", "configure.py", *where, "--hub", "hub.example.org", "site1", user=USER)
    hub.run("tidegate", "keys", "init", "--state", STATE, user=USER)
    bundle = f"{OPERATOR}/site1.bundle"
    hub.run("tidegate", "site", "add", "site1", "--bundle", bundle, "--state", STATE, user=USER)
    for machine in (hub, site):
        for file in FILES[machine.name]:
            carry(hub, f"{OPERATOR}/configured/{machine.name}/{file}", machine, f"/etc/tidegate/{file}")
        (machine.root / "etc/tidegate/site.env").write_text(f"SITE={machine.name}\n")
    carry(hub, bundle, site, bundle)
    site.run("tidegate", "site", "add", "--from", bundle, "--state", STATE, user=USER)
    for machine in (hub, site):
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "enable", "--now", *names(machine))
    for domain in ("hub", "site1"):
        hub.run("tidegate", "topology", "apply", "--state", f"{OPERATOR}/configured", "--site", domain, user=USER)
    hub.wait("its sync worker", "test", "-f", f"{STATE}/hub/ready/sync")
    say("publishing the pack at the hub")
    hub.run("tidegate", "publish", "pack", "/srv/packs/kiosk", user=USER, **AS_HUB)


def names(machine: Machine) -> list[str]:
    return [f"tidegate-{unit}" for unit in UNITS[machine.name]]


def carry(source: Machine, path: str, to: Machine, there: str) -> None:
    """Copy a file of the operator to where the user of the units reads it."""
    shutil.copy(source.root / path.lstrip("/"), to.root / there.lstrip("/"))
    to.run("chown", f"{USER}:{USER}", there)
    to.run("chmod", "0600", there)


def check_answers(hub: Machine, key: str) -> None:
    """Ask the site from the hub's machine until each answer has its fact: after a fault the hub's comes once the link
    is there again, and before that an answer that says that there is none. Raises `ImageTestError` where none has."""
    url = "https://site1-nats:8080/v1/chat/completions"
    for question, (fact, why) in QUESTIONS.items():
        words = ["python", "-c", ASK, url, key, question, fact]
        answer = hub.wait(f"an answer to {question!r} that states {fact}", *words, user=USER).strip()
        say(f"{question} ({why})\n    {answer}")


def wait_until_ready(*all_of: Machine) -> None:
    """Return when a pack is in force on each machine."""
    for machine in all_of:
        machine.wait("its workers", "test", "-f", f"{STATE}/{machine.name}/ready/all")


def freeze_server(site: Machine) -> None:
    """Have the site's nats-server stop without an end, and another take its place."""
    frozen = site.run("pgrep", "--exact", "nats-server").strip()
    site.run("kill", "-STOP", frozen)
    say("froze the site's nats-server")
    another = f"pgrep --exact nats-server | grep --invert-match --line-regexp {frozen}"
    site.wait("another nats-server", "sh", "-c", another)


def check_log(machine: Machine) -> None:
    """Raises `ImageTestError` where its unit kept from nats-server what it asks for: its machine's own addresses."""
    logged = machine.run("journalctl", "--no-pager", "--output=cat", "--unit=tidegate-nats").splitlines()
    errors = [line for line in logged if "[ERR]" in line and ("non-local IP" in line or "resolved" in line)]
    if errors:
        raise ImageTestError(f"{machine.name}: nats-server under its unit: {errors}")


def stop(machine: Machine) -> None:
    """Stop every unit. Raises `ImageTestError` for one that systemd takes for failed."""
    for unit in reversed(names(machine)):
        machine.run("systemctl", "stop", unit)
        result = machine.run("systemctl", "show", "--property=Result", "--value", unit).strip()
        if result != "success":
            raise ImageTestError(f"{machine.name}: {unit} was stopped, with the result {result}\n{machine.logs()}")


def test_units(folder: Path) -> None:
    """Raises `ImageTestError`."""
    with machines(folder) as (hub, site):
        for machine in (hub, site):
            machine.boot()
        set_up(hub, site)
        wait_until_ready(hub, site)
        own = {"TIDEGATE_SITE": "site1", "TIDEGATE_STATE_DIR": STATE}
        issued = site.run("tidegate", "keys", "issue", "--tenant", "kiosk", "--json", user=USER, **own)
        key = json.loads(issued.splitlines()[-1])["key"]
        check_answers(hub, key)
        check_log(hub)
        check_log(site)
        freeze_server(site)
        check_answers(hub, key)
        for machine in (site, hub):
            machine.power_off()
        for machine in (site, hub):
            machine.boot()
        say("booted both machines anew")
        check_answers(hub, key)
        for machine in (site, hub):
            stop(machine)
            machine.power_off()


def main() -> None:
    try:
        require_tools({**TOOLS, "systemd-nspawn": "systemd-container"})
        build("edge", make_base())
        say("making a machine of it (a minute)")
        make_machine()
        with tempfile.TemporaryDirectory(prefix="tidegate-units-") as folder:
            test_units(Path(folder))
    except ImageTestError as error:
        sys.exit(f"units-test: {error}")
    say("two machines were set up by the docs, answered, also after a frozen server and a boot, and stopped in order")


if __name__ == "__main__":
    main()
