"""`make image-test`: builds the edge and the hub image, runs a hub and a site from them, asks over HTTP, stops them.

Needs root, buildah, iproute2, and debootstrap unless BASE names an image. Each of the two runs in a network namespace
of its own, joined by one virtual cable; nothing else is reached once the images are built.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".images"
TOOLS = {"buildah": "buildah", "debootstrap": "debootstrap", "ip": "iproute2"}
SUITE = "bookworm"
OWN_BASE = "localhost/tidegate-base"
IMAGES = ("edge", "hub")
UID = 10001
DEADLINE_S = 180.0
QUESTIONS = {
    "What does a roll of coins for the till cost?": ("40 pence", "the site answers from its own documents"),
    "In which year was the Merrow Harbour Savings Bank founded?": ("1826", "only the hub knows"),
}


class ImageTestError(RuntimeError):
    """A step of this test failed; the message says which, and what to do."""


def say(text: str) -> None:
    print(f"image-test: {text}", flush=True)


def run(command: Sequence[str], **options: Any) -> str:
    """The command's output. Raises `ImageTestError` with its last lines when it fails."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    if done.returncode:
        lines = "\n".join(done.stdout.splitlines()[-25:])
        raise ImageTestError(f"`{' '.join(command)}` ended with {done.returncode}:\n{lines}")
    return done.stdout


def require_tools() -> None:
    """Find the tools, or install them where apt-get may be used."""
    if os.geteuid() != 0:
        raise ImageTestError("needs root: namespaces and debootstrap do; run it with sudo")
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise ImageTestError(f"needs {', '.join(missing)}; install them")
    say(f"installing {', '.join(missing)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "-qq", "update"], env=quiet)
    run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing], env=quiet)


def buildah(*arguments: str) -> list[str]:
    """A buildah command on a store of its own below `.images`; vfs and chroot work also inside a container."""
    store = ["--root", str(CACHE / "store"), "--runroot", str(CACHE / "run"), "--storage-driver", "vfs"]
    return ["buildah", *store, *arguments]


def debian_mirror() -> str:
    """The mirror that this machine's own apt uses."""
    listed = run(["apt-get", "indextargets", "--format", "$(SITE)"]).split()
    if not listed:
        raise ImageTestError("apt knows no mirror; name a base image with BASE=…")
    return listed[0]


def make_base() -> str:
    """The base image: the one that BASE names, else a plain Debian, made once."""
    if base := os.environ.get("BASE"):
        return base
    if (
        subprocess.run(buildah("inspect", "--type", "image", OWN_BASE), capture_output=True, check=False).returncode
        == 0
    ):
        return OWN_BASE
    say(f"making a plain Debian ({SUITE}) as base (minutes, once)")
    with tempfile.TemporaryDirectory(prefix="tidegate-base-") as folder:
        tree = Path(folder) / "root"
        run(["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, str(tree), debian_mirror()])
        container = run(buildah("from", "scratch")).split()[-1]
        run(buildah("add", "-q", container, str(tree), "/"))
        run(buildah("commit", "-q", "--rm", container, OWN_BASE))
    return OWN_BASE


def build(name: str, base: str) -> None:
    """Build one image; a certificate authority and an index of this machine's own are handed to pip."""
    say(f"building tidegate-{name} (minutes)")
    trust: list[str] = []
    if bundle := os.environ.get("PIP_CERT"):
        trust = ["-v", f"{bundle}:{bundle}:ro", "--build-arg", f"PIP_CERT={bundle}"]
    if index := os.environ.get("PIP_INDEX_URL"):
        trust += ["--build-arg", f"PIP_INDEX_URL={index}"]
    file = f"infra/containers/Containerfile.{name}"
    isolation = ["--isolation", "chroot", "--layers=false", "--build-arg", f"BASE={base}"]
    run(buildah("bud", *isolation, *trust, "-f", file, "-t", f"tidegate-{name}", "."), cwd=ROOT)


def innermost(pid: int) -> list[int]:
    """The processes below `pid` that have none below them: a signal to a buildah would kill what it runs at once."""
    pairs = [line.split() for line in run(["ps", "-eo", "pid=,ppid="]).splitlines()]
    below = [int(child) for child, parent in pairs if int(parent) == pid]
    return [each for child in below for each in innermost(child)] or [pid]


class Host:
    """One machine of the test: a network namespace, and containers of images in it that share /etc/tidegate."""

    def __init__(self, name: str, address: str, hosts: dict[str, str], etc: Path, state: Path) -> None:
        self.name, self.address, self.etc, self.state = name, address, etc, state
        self.namespace = f"tg{os.getpid()}-{name}"
        self._hosts = [word for host, at in hosts.items() for word in ("--add-host", f"{host}:{at}")]
        self._containers: list[str] = []
        self._running: list[tuple[str, subprocess.Popen[str]]] = []

    def command(self, image: str, *words: str, **environment: str) -> list[str]:
        """What runs `words` in a new container of the image, as the image's own user, in this host's network."""
        container = run(buildah("from", *self._hosts, f"localhost/tidegate-{image}")).split()[-1]
        self._containers.append(container)
        # buildah mounts the image's VOLUME and ours at one path in random order: now and then ours is the hidden one
        run(buildah("config", "--volume", "/var/lib/tidegate-", container))
        settings = [word for key, value in environment.items() for word in ("--env", f"{key}={value}")]
        volumes = ["-v", f"{self.etc}:/etc/tidegate", "-v", f"{self.state}:/var/lib/tidegate"]
        volumes += ["-v", f"{self.state}/nats:/var/lib/nats"]
        inside = buildah(
            "run", "--isolation", "chroot", "--network", "host", *settings, *volumes, container, "--", *words
        )
        return ["ip", "netns", "exec", self.namespace, *inside]

    def once(self, image: str, *words: str, **environment: str) -> None:
        run(self.command(image, *words, **environment), timeout=DEADLINE_S)

    def start(self, what: str, image: str, *words: str, **environment: str) -> None:
        log = (self.state / f"{what}.log").open("w")
        process = subprocess.Popen(
            self.command(image, *words, **environment), stdout=log, stderr=log, text=True, start_new_session=True
        )
        self._running.append((what, process))

    def wait(self, what: str, script: str) -> str:
        """Run a Python script in this host's network until it succeeds; its output."""
        until = time.monotonic() + DEADLINE_S
        while True:
            command = ["ip", "netns", "exec", self.namespace, sys.executable, "-c", script]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return done.stdout
            ended = [name for name, process in self._running if process.poll() is not None]
            if ended or time.monotonic() > until:
                raise ImageTestError(f"{self.name}: {what} did not come; ended: {ended}\n{self.logs()}")
            time.sleep(0.5)

    def logs(self) -> str:
        return "\n".join(f"--- {file.name}\n{file.read_text()[-1500:]}" for file in self.state.glob("*.log"))

    def stop(self) -> None:
        """SIGTERM what runs, last started first. Raises `ImageTestError` when anything does not end by itself."""
        for what, process in reversed(self._running):
            for pid in innermost(process.pid):
                os.kill(pid, signal.SIGTERM)
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                raise ImageTestError(f"{self.name}: {what} does not stop\n{self.logs()}") from None
        self._running.clear()

    def remove(self) -> None:
        """End what still runs, and take the containers and the namespace away."""
        for _, process in self._running:
            for pid in innermost(process.pid) if process.poll() is None else ():
                os.kill(pid, signal.SIGKILL)  # its buildah ends with it
        for container in self._containers:
            subprocess.run(buildah("rm", container), capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", self.namespace], capture_output=True, check=False)


@contextlib.contextmanager
def hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """A hub and a site, each in its own namespace, with a cable between them."""
    addresses = {"hub-nats": "10.77.0.1", "site1-nats": "10.77.0.2"}
    etc = folder / "etc"
    etc.mkdir()
    os.chown(etc, UID, UID)
    made = []
    for name in ("hub", "site1"):
        state = folder / name
        for path in (state, state / "nats"):
            path.mkdir()
            os.chown(path, UID, UID)
        made.append(Host(name, addresses[f"{name}-nats"], addresses, etc, state))
    hub, site = made
    try:
        for host in made:
            run(["ip", "netns", "add", host.namespace])
            run(["ip", "-n", host.namespace, "link", "set", "lo", "up"])
        ends = ["veth0", "netns", hub.namespace, "type", "veth", "peer", "name", "veth0", "netns", site.namespace]
        run(["ip", "link", "add", *ends])
        for host in made:
            run(["ip", "-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "veth0"])
            run(["ip", "-n", host.namespace, "link", "set", "veth0", "up"])
        yield hub, site
    finally:
        for host in made:
            host.remove()


def environment_of(domain: str) -> dict[str, str]:
    """What compose sets for a worker of the domain."""
    return {
        "TIDEGATE_SITE": domain,
        "TIDEGATE_NATS__URL": f"nats://{domain}-nats:4222",
        "TIDEGATE_NATS__NKEY_SEED_FILE": f"/etc/tidegate/{domain}/client.nk",
    }


def bring_up(hub: Host, site: Host) -> None:
    """As compose.yaml does: configure, servers, topology, preparation, workers."""
    hub.once("edge", "python", "/opt/tidegate/configure.py", "--out", "/etc/tidegate", "site1")
    for host in (hub, site):
        host.start("nats", "edge", "nats-server", "-c", f"/etc/tidegate/{host.name}/nats.conf")
        health = "http://127.0.0.1:8222/healthz?js-enabled-only=true"
        host.wait("its nats-server", f"import urllib.request as r; r.urlopen({health!r}, timeout=2)")
    for host in (hub, site):
        host.once("edge", "tidegate", "topology", "apply", "--site", host.name, TIDEGATE_STATE_DIR="/etc/tidegate")
        say(f"preparing {host.name}")
        host.once("edge", "python", "/opt/tidegate/prepare.py", host.name)
    hub.start("workers", "hub", "tidegate", "worker", "all", "--site", "hub", **environment_of("hub"))
    site.start("workers", "edge", "tidegate", "worker", "all", "--site", "site1", **environment_of("site1"))
    hub.wait("its workers", f"import os; os.stat({str(hub.state / 'hub' / 'ready' / 'all')!r})")
    site.wait("its gateway", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/healthz', timeout=2)")


def ask(site: Host, question: str) -> str:
    """The answer to one question, through the site's HTTP API as an OpenAI client asks it."""
    body = {"model": "tidegate", "messages": [{"role": "user", "content": question}]}
    script = (
        "import json, urllib.request as r\n"
        "request = r.Request('http://127.0.0.1:8080/v1/chat/completions',"
        f" {json.dumps(body).encode()!r}, {{'content-type': 'application/json'}})\n"
        "print(json.load(r.urlopen(request, timeout=30))['choices'][0]['message']['content'])"
    )
    return site.wait(f"an answer to {question!r}", script).strip()


def test_images(folder: Path) -> None:
    """Run a hub and a site from the images, ask, stop. Raises `ImageTestError`."""
    with hosts(folder) as (hub, site):
        bring_up(hub, site)
        for question, (fact, why) in QUESTIONS.items():
            answer = ask(site, question)
            say(f"{question} ({why})\n    {answer}")
            if fact not in answer:
                raise ImageTestError(f"the answer does not state {fact!r}: {answer!r}\n{hub.logs()}\n{site.logs()}")
        for host in (site, hub):
            host.stop()
            left = sorted(path.name for path in host.state.glob("*/ready/*"))
            if left:
                raise ImageTestError(f"{host.name} was stopped and did not end in order: {left} still say ready")


def main() -> None:
    try:
        require_tools()
        CACHE.mkdir(exist_ok=True)
        base = make_base()
        for name in IMAGES:
            build(name, base)
        with tempfile.TemporaryDirectory(prefix="tidegate-image-") as folder:
            Path(folder).chmod(0o755)
            test_images(Path(folder))
    except ImageTestError as error:
        sys.exit(f"image-test: {error}")
    say("both images were built, answered and stopped in order")


if __name__ == "__main__":
    main()
