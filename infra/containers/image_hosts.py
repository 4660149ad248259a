"""Machines of the image test: network namespaces, joined by one cable, with containers of images that run in them.

Next: image_test.py, which brings them up."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".images"
UID = 10001
DEADLINE_S = 900.0
"""The two index builds of the kiosk pack take 40 s of a processor each, which a busy machine makes minutes."""
GRACE_S, SERVERS_GRACE_S = 20.0, 40.0
"""What compose.yaml gives a container, and a server, before it is killed."""


NOT_OF_THE_IMAGE = ("/tmp/", "/run/", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")


class ImageTestError(RuntimeError):
    """A step of this test failed; the message says which, and what to do."""


def say(text: str) -> None:
    print(f"{Path(sys.argv[0]).stem.replace('_', '-')}: {text}", flush=True)


def run(command: Sequence[str], **options: Any) -> str:
    """The command's output. Raises `ImageTestError` with its last lines when it fails."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    if done.returncode:
        lines = "\n".join(done.stdout.splitlines()[-25:])
        raise ImageTestError(f"`{' '.join(command)}` ended with {done.returncode}:\n{lines}")
    return done.stdout


def buildah(*arguments: str) -> list[str]:
    """A buildah command on a store of its own below `.images`."""
    driver = storage_driver()
    return [*command_on(driver), *arguments]


@functools.cache
def storage_driver() -> str:
    """`overlay`, of which a container costs what it writes; inside a container that cannot mount it `vfs`, of which
    each container is a copy of its image, a gigabyte."""
    CACHE.mkdir(exist_ok=True)
    probe = subprocess.run([*command_on("overlay"), "info"], capture_output=True, check=False)
    return "overlay" if probe.returncode == 0 else "vfs"


def command_on(driver: str) -> list[str]:
    """The beginning of a buildah command: one driver does not open the store of another."""
    store = CACHE / driver
    return ["buildah", "--root", str(store / "store"), "--runroot", str(store / "run"), "--storage-driver", driver]


def find_programs(pid: int) -> list[int]:
    """What runs in the container of the buildah `pid`: the first processes below it that are none of buildah's own. A
    signal to one of those would kill the program at once; one to the program's own children would not end it."""
    lines = [line.split(maxsplit=3) for line in run(["ps", "-eo", "pid=,ppid=,stat=,args="]).splitlines()]
    below = [(int(child), args) for child, parent, stat, args in lines if int(parent) == pid and "Z" not in stat]
    return [each for child, args in below for each in (find_programs(child) if args.startswith("buildah") else [child])]


class Host:
    """One machine of the test: a network namespace, and containers of images in it that share /etc/tidegate.

    `mounts` are what its containers see beside that and the state.
    """

    def __init__(self, name: str, address: str, hosts: dict[str, str], etc: Path, state: Path) -> None:
        self.name, self.address, self.etc, self.state = name, address, etc, state
        self.nats, self.log_files = state.with_name(f"{name}-nats"), state.with_name(f"{name}-logs")
        self.namespace = f"tg{os.getpid()}-{name}"
        self._began = state.with_name(f"{name}-began")
        self.mounts: tuple[str, ...] = ()
        self._hosts = [word for host, at in hosts.items() for word in ("--add-host", f"{host}:{at}")]
        self._containers: list[str] = []
        self._running: list[tuple[str, subprocess.Popen[str]]] = []

    def begin(self) -> None:
        """From now on it is seen what its containers write."""
        self._began.touch()

    def command(self, image: str, *words: str, **environment: str) -> list[str]:
        """What runs `words` in a new container of the image, as the image's own user, in this host's network."""
        container = run(buildah("from", *self._hosts, f"localhost/tidegate-{image}")).split()[-1]
        self._containers.append(container)
        # buildah mounts the image's VOLUME and ours at one path in random order: now and then ours is the hidden one
        run(buildah("config", "--volume", "/var/lib/tidegate-", container))
        settings = [word for key, value in environment.items() for word in ("--env", f"{key}={value}")]
        volumes = ["-v", f"{self.etc}:/etc/tidegate", "-v", f"{self.state}:/var/lib/tidegate"]
        volumes += ["-v", f"{self.nats}:/var/lib/nats"]
        volumes += [word for mount in self.mounts for word in ("-v", mount)]
        inside = buildah(
            "run", "--isolation", "chroot", "--network", "host", *settings, *volumes, container, "--", *words
        )
        return ["ip", "netns", "exec", self.namespace, *inside]

    def once(self, image: str, *words: str, **environment: str) -> str:
        """What the command printed; its container is gone then."""
        printed = run(self.command(image, *words, **environment), timeout=DEADLINE_S)
        run(buildah("rm", self._containers.pop()))
        return printed

    def start(self, what: str, image: str, *words: str, **environment: str) -> None:
        log = (self.log_files / f"{what}.log").open("a")
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
        return "\n".join(f"--- {file.name}\n{file.read_text()[-1500:]}" for file in self.log_files.glob("*.log"))

    def stop(self, *names: str) -> None:
        """SIGTERM what runs of these names, or all of it, last started first. Raises `ImageTestError` when anything
        does not end by itself within the grace of its container."""
        wanted = [each for each in self._running if not names or each[0] in names]
        for what, process in reversed(wanted):
            for pid in find_programs(process.pid):
                os.kill(pid, signal.SIGTERM)
            grace_s = SERVERS_GRACE_S if what == "nats" else GRACE_S
            try:
                process.wait(timeout=grace_s)
            except subprocess.TimeoutExpired:
                raise ImageTestError(f"{self.name}: {what} does not stop in {grace_s} s\n{self.logs()}") from None
        self._running = [each for each in self._running if each not in wanted]

    def written(self) -> list[str]:
        """What its containers have written into their own root file systems, but for /tmp and what buildah does."""
        roots = [Path(run(buildah("mount", container)).strip()) for container in self._containers]
        found = [
            Path("/", Path(file).relative_to(root))
            for root in roots
            for file in run(["find", str(root), "-type", "f", "-newer", str(self._began)]).splitlines()
        ]
        return sorted({str(file) for file in found if not str(file).startswith(NOT_OF_THE_IMAGE)})

    def remove(self) -> None:
        """End what still runs, and take the containers away."""
        for _, process in self._running:
            for pid in find_programs(process.pid) if process.poll() is None else ():
                os.kill(pid, signal.SIGKILL)  # its buildah ends with it
        for container in self._containers:
            subprocess.run(buildah("rm", container), capture_output=True, check=False)


def make_disk(path: Path) -> None:
    """An empty disk of the images' user."""
    path.mkdir()
    os.chown(path, UID, UID)


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
        host = Host(name, addresses[f"{name}-nats"], addresses, etc, state)
        for path in (state, host.nats, host.log_files):
            make_disk(path)
        host.begin()
        made.append(host)
    hub, site = made
    hub.mounts = (f"{site.state}:/mnt/site", f"{ROOT / 'infra' / 'packs'}:/packs:ro")
    with cable({host.namespace: host.address for host in made}):
        try:
            yield hub, site
        finally:
            for host in made:
                host.remove()


@contextlib.contextmanager
def cable(addresses: dict[str, str]) -> Iterator[None]:
    """Two network namespaces with their addresses, joined by a cable, until it is left."""
    one, other = addresses
    try:
        for name in addresses:
            run(["ip", "netns", "add", name])
            run(["ip", "-n", name, "link", "set", "lo", "up"])
        ends = ["veth0", "netns", one, "type", "veth", "peer", "name", "veth0", "netns", other]
        run(["ip", "link", "add", *ends])
        for name, address in addresses.items():
            run(["ip", "-n", name, "address", "add", f"{address}/24", "dev", "veth0"])
            run(["ip", "-n", name, "link", "set", "veth0", "up"])
        yield
    finally:
        for name in addresses:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
