"""`make image-test`: builds the edge and the hub image, runs a hub and a site from them that sync fills, asks over
HTTP, loses the site's disk, provisions another by one command, asks again, stops them.

Needs root, buildah, iproute2, and debootstrap unless BASE names an image. Each of the two runs in a network namespace
of its own, joined by one virtual cable; nothing else is reached once the images are built.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from .image_hosts import ROOT, UID, Host, ImageTestError, buildah, hosts, make_disk, run, say

TOOLS = {"buildah": "buildah", "debootstrap": "debootstrap", "ip": "iproute2"}
SUITE = "bookworm"
OWN_BASE = "localhost/tidegate-base"
IMAGES = ("edge", "hub")
GATEWAY = "https://127.0.0.1:8080"
QUESTIONS = {
    "What does a roll of coins for the till cost?": ("40 pence", "the site answers from its own documents"),
    "In which year was the Merrow Harbour Savings Bank founded?": ("1826", "only the hub knows"),
}


def require_tools(tools: Mapping[str, str]) -> None:
    """Find the tools, or install their packages where apt-get may be used."""
    if os.geteuid() != 0:
        raise ImageTestError("needs root: namespaces and debootstrap do; run it with sudo")
    missing = [package for tool, package in tools.items() if shutil.which(tool) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise ImageTestError(f"needs {', '.join(missing)}; install them")
    say(f"installing {', '.join(missing)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "-qq", "update"], env=quiet)
    run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing], env=quiet)


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
    # of the two formats only Docker's has a health check
    how = ["--isolation", "chroot", "--format", "docker", "--layers=false", "--build-arg", f"BASE={base}"]
    begun = time.monotonic()
    run(buildah("bud", *how, *trust, "-f", file, "-t", f"tidegate-{name}", "."), cwd=ROOT)
    [size] = run(buildah("images", "--format", "{{.Size}}", f"localhost/tidegate-{name}")).splitlines()
    say(f"tidegate-{name}: {size}, built in {time.monotonic() - begun:.0f} s")


def environment_of(domain: str) -> dict[str, str]:
    """What compose sets for a worker of the domain."""
    return {
        "TIDEGATE_SITE": domain,
        "TIDEGATE_NATS__URL": f"tls://{domain}-nats:4222",
        "TIDEGATE_NATS__TLS_AUTHORITY": f"/etc/tidegate/{domain}/ca.pem",
        "TIDEGATE_NATS__NKEY_SEED_FILE": f"/etc/tidegate/{domain}/operator.nk",
        "TIDEGATE_GATEWAY__TLS__CERTIFICATE": f"/etc/tidegate/{domain}/tls.pem",
        "TIDEGATE_GATEWAY__TLS__KEY": f"/etc/tidegate/{domain}/tls.key",
    }


def bring_up(hub: Host, site: Host) -> None:
    """As compose.yaml does: configure, servers, topology, keys; then sync workers, what answers, and the pack."""
    configure = ["python", "/opt/tidegate/configure.py", "--out", "/etc/tidegate", "--state", "/var/lib/tidegate"]
    hub.once("edge", *configure, "site1")
    for host in (hub, site):
        start_server(host)
    provision(hub)
    start_workers(hub, "hub")
    start_workers(site, "edge")
    hub.wait("its sync worker", stat_of(hub.state / "hub" / "ready" / "sync"))
    say("publishing the pack at the hub")
    hub.once("hub", "tidegate", "publish", "pack", "/packs/kiosk", **environment_of("hub"))
    wait_until_it_answers(hub, site)


def start_server(host: Host) -> None:
    """The domain's server, and its streams: a site's at both ends."""
    host.start("nats", "edge", "nats-server", "-c", f"/etc/tidegate/{host.name}/nats.conf")
    health = "http://127.0.0.1:8222/healthz?js-enabled-only=true"
    host.wait("its nats-server", f"import urllib.request as r; r.urlopen({health!r}, timeout=2)")
    host.once("edge", "tidegate", "topology", "apply", "--site", host.name, TIDEGATE_STATE_DIR="/etc/tidegate")


def provision(hub: Host) -> None:
    """The one command that makes a disk the site, whether it is the first or another one."""
    hub.once("hub", "tidegate", "site", "add", "site1", "--into", "/mnt/site")


def start_workers(host: Host, image: str) -> None:
    """The sync worker of a domain, and what answers there, which waits for what that brings."""
    for what, name in (("sync", "sync"), ("workers", "all")):
        command = ["tidegate", "worker", name, "--site", host.name]
        host.start(what, image, *command, **environment_of(host.name), TIDEGATE_METRICS_PORT="0")


def wait_until_it_answers(hub: Host, site: Host) -> None:
    """Return when the pack is in force at both, and the site's gateway takes questions."""
    hub.wait("its workers", stat_of(hub.state / "hub" / "ready" / "all"))
    site.wait("its workers", stat_of(site.state / "site1" / "ready" / "all"))
    site.wait("its gateway", f"{trusting(site)}r.urlopen('{GATEWAY}/healthz', timeout=2, context=believed)")


def trusting(site: Host) -> str:
    """The beginning of a script that believes the fleet's authority."""
    authority = str(site.etc / site.name / "ca.pem")
    return f"import json, ssl, urllib.request as r\nbelieved = ssl.create_default_context(cafile={authority!r})\n"


def stat_of(path: Path) -> str:
    """A script that succeeds when the file is there."""
    return f"import os; os.stat({str(path)!r})"


def check_image(host: Host, image: str) -> None:
    """Raises `ImageTestError` where the image runs as another than its user, or where its own health check fails, which
    asks whether the host's workers are ready."""
    user = host.once(image, "id", "-u").strip()
    if user != str(UID):
        raise ImageTestError(f"tidegate-{image} runs as the user {user}")
    about = json.loads(run(buildah("inspect", "--type", "image", f"localhost/tidegate-{image}")))
    test = about["Docker"]["config"]["Healthcheck"]["Test"]
    host.once(image, *test[1:], **environment_of(host.name))


def replace_disk(hub: Host, site: Host) -> None:
    """Lose all that the site had on its disk, and have an empty one be the site."""
    say("losing the site's disk, and provisioning an empty one")
    site.stop()
    for disk in (site.state, site.nats):
        shutil.rmtree(disk)
        make_disk(disk)
    provision(hub)
    start_server(site)
    start_workers(site, "edge")
    wait_until_it_answers(hub, site)


def issue_key(site: Host) -> str:
    """An access key of the site, by its own command."""
    printed = site.once("edge", "tidegate", "keys", "issue", "--json", TIDEGATE_SITE="site1")
    key: str = json.loads(printed.splitlines()[-1])["key"]
    return key


def ask(site: Host, question: str, key: str) -> str:
    """The answer to one question, through the site's HTTP API as an OpenAI client asks it."""
    body = {"model": "tidegate", "messages": [{"role": "user", "content": question}]}
    script = (
        f"{trusting(site)}request = r.Request('{GATEWAY}/v1/chat/completions',"
        f" {json.dumps(body).encode()!r}, {{'content-type': 'application/json', 'authorization': 'Bearer {key}'}})\n"
        "print(json.load(r.urlopen(request, timeout=30, context=believed))['choices'][0]['message']['content'])"
    )
    return site.wait(f"an answer to {question!r}", script).strip()


def check_answers(hub: Host, site: Host) -> None:
    """Ask all questions. Raises `ImageTestError` for an answer that lacks its fact."""
    key = issue_key(site)
    for question, (fact, why) in QUESTIONS.items():
        answer = ask(site, question, key)
        say(f"{question} ({why})\n    {answer}")
        if fact not in answer:
            raise ImageTestError(f"the answer does not state {fact!r}: {answer!r}\n{hub.logs()}\n{site.logs()}")


def test_images(folder: Path) -> None:
    """Run a hub and a site from the images, ask, stop. Raises `ImageTestError`."""
    with hosts(folder) as (hub, site):
        bring_up(hub, site)
        check_answers(hub, site)
        check_image(hub, "hub")
        check_image(site, "edge")
        replace_disk(hub, site)
        check_answers(hub, site)
        for host in (site, hub):
            host.stop()
            if written := host.written():
                raise ImageTestError(f"{host.name} wrote what compose.yaml has read-only: {written[:20]}")
            left = sorted(path.name for path in host.state.glob("*/ready/*"))
            if left:
                raise ImageTestError(f"{host.name} was stopped and did not end in order: {left} still say ready")


def main() -> None:
    try:
        require_tools(TOOLS)
        base = make_base()
        for name in IMAGES:
            build(name, base)
        with tempfile.TemporaryDirectory(prefix="tidegate-image-") as folder:
            Path(folder).chmod(0o755)
            test_images(Path(folder))
    except ImageTestError as error:
        sys.exit(f"image-test: {error}")
    say("both images were built, were filled by sync, answered, also from another disk, and stopped in order")


if __name__ == "__main__":
    main()
