"""Machines of the test of the units: a Debian each, booted by its own systemd, in a network namespace of its own.

Next: units_test.py, which sets them up as docs/deployment.md does."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .image_hosts import DEADLINE_S, ROOT, ImageTestError, buildah, cable, run

IMAGE = "localhost/tidegate-machine"
OFF_WITHIN_S = 90.0
HIERARCHIES = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")
"""Where a control group of the second kind, or systemd's own of the first, may be."""
OF_IMAGE = ("etc/tidegate", "var/lib/tidegate", "var/lib/nats")
"""What containers find and whoever sets a machine up makes."""


def control_groups(name: str) -> list[Path]:
    """Groups of a machine's own: two machines that began in one group would share those of their units."""
    found = [Path(each) for each in HIERARCHIES if Path(each, "cgroup.procs").exists()]
    return [each / name for each in found]


class Machine:
    """One machine. `root` is its disk, `address` where the other ones find it."""

    def __init__(self, name: str, address: str, hosts: str, folder: Path) -> None:
        self.name, self.address = name, address
        self.namespace = f"tg{os.getpid()}-{name}"
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._container = run(buildah("from", IMAGE)).split()[-1]
        self.root = Path(run(buildah("mount", self._container)).strip())
        for path in OF_IMAGE:
            shutil.rmtree(self.root / path)
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
        for unit in (ROOT / "infra/systemd").glob("*.service"):
            shutil.copy(unit, self.root / "etc/systemd/system")

    def boot(self) -> None:
        """Start it, and return when systemd is up."""
        groups = control_groups(self.namespace)
        for group in groups:
            group.mkdir(exist_ok=True)

        def join() -> None:
            for group in groups:
                (group / "cgroup.procs").write_text("0")

        how = [f"--directory={self.root}", f"--machine={self.namespace}", "--register=no", "--keep-unit", "--boot"]
        how += [f"--network-namespace-path=/run/netns/{self.namespace}", "--resolv-conf=off", "--console=pipe"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["systemd-nspawn", "--quiet", *how],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=join,  # noqa: PLW1509 - a write each, no lock, no import
            )
        self.wait("systemd", "systemctl", "is-active", "multi-user.target")

    def run(self, *words: str, user: str = "root", **environment: str) -> str:
        """What a command prints that runs there in /srv. Raises `ImageTestError`."""
        return run(self._command(words, user, environment), timeout=DEADLINE_S)

    def wait(self, what: str, *words: str, user: str = "root") -> str:
        """What a command prints, once it succeeds. Raises `ImageTestError`."""
        until = time.monotonic() + DEADLINE_S
        while True:
            try:
                return self.run(*words, user=user)
            except ImageTestError as error:
                has_ended = self._process is None or self._process.poll() is not None
                if has_ended or time.monotonic() > until:
                    raise ImageTestError(f"{self.name}: {what} did not come: {error}\n{self.logs()}") from error
            time.sleep(1.0)

    def logs(self) -> str:
        """The last of its journal and its console."""
        console = self._log.read_text(errors="replace")[-1500:]
        with contextlib.suppress(ImageTestError):
            return console + self.run("journalctl", "--no-pager", "--boot", "--output=cat", "--lines=60")
        return console

    def power_off(self) -> None:
        """Raises `ImageTestError` where it does not end by itself."""
        with contextlib.suppress(ImageTestError):  # the command's own process may end before it says so
            self.run("systemctl", "poweroff")
        try:
            if self._process is not None:
                self._process.wait(OFF_WITHIN_S)
        except subprocess.TimeoutExpired:
            raise ImageTestError(f"{self.name} does not power off\n{self.logs()}") from None

    def remove(self) -> None:
        """End it as a cut of its current does, and take away what it was."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self._leader(), signal.SIGKILL)  # the kernel ends what is in its namespace; nspawn ends then
            self._process.wait(OFF_WITHIN_S)
        subprocess.run(buildah("rm", self._container), capture_output=True, check=False)
        for group in control_groups(self.namespace):
            if group.exists():
                for path in sorted((each for each in group.rglob("*") if each.is_dir()), reverse=True):
                    path.rmdir()
                group.rmdir()

    def _leader(self) -> int:
        """The machine's first process. Raises `ImageTestError` where it does not run."""
        return int(run(["ps", "-o", "pid=", "--ppid", str(self._process.pid if self._process else 0)]).split()[0])

    def _command(self, words: tuple[str, ...], user: str, environment: dict[str, str]) -> list[str]:
        settings = [f"{key}={value}" for key, value in environment.items()]
        path = "PATH=/opt/tidegate/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user != "root" else []
        there = ["env", "--ignore-environment", "--chdir=/srv", path, *settings]
        return ["nsenter", f"--target={self._leader()}", "--all", "--", *as_user, *there, *words]


def make_machine() -> None:
    """The image of a machine: that of a site, and systemd."""
    container = run(buildah("from", "localhost/tidegate-edge")).split()[-1]
    install = "apt-get -qq update && apt-get -qq install -y --no-install-recommends systemd systemd-sysv dbus procps"
    script = f"{install} && ln -s /opt/venv /opt/tidegate/venv"
    as_root = ["run", "--isolation", "chroot", "--network", "host", "--user", "root"]
    run(buildah(*as_root, "--env", "DEBIAN_FRONTEND=noninteractive", container, "--", "sh", "-c", script))
    run(buildah("config", "--volume", "/var/lib/tidegate-", container))
    run(buildah("commit", "-q", "--rm", container, IMAGE))


@contextlib.contextmanager
def machines(folder: Path) -> Iterator[tuple[Machine, Machine]]:
    """A hub's machine and a site's, not booted yet; nothing of them is left on leaving."""
    addresses = {"hub": "10.78.0.1", "site1": "10.78.0.2"}
    lines = "".join(f"{address} {name}-nats {name}.example.org\n" for name, address in addresses.items())
    with contextlib.ExitStack() as stack:
        made = []
        for name, address in addresses.items():
            machine = Machine(name, address, lines, folder)
            stack.callback(machine.remove)
            made.append(machine)
        stack.enter_context(cable({machine.namespace: machine.address for machine in made}))
        yield made[0], made[1]
