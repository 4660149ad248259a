"""The servers of a hub and its sites as `configure.py` sets them up, with this machine's addresses."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import nats
from nats.aio.client import Client

from tests.support.paths import ROOT

SERVER = Path(sys.executable).parent / "nats-server"


def configure(out: Path, *arguments: str) -> None:
    command = [sys.executable, str(ROOT / "infra/containers/configure.py"), "--out", str(out), *arguments]
    subprocess.run([*command, "--state", str(state_of(out)), "site1", "site2"], check=True, timeout=30, cwd=ROOT)


def state_of(out: Path) -> Path:
    """The hub's state directory, where it knows its sites."""
    return out / "hub-state"


def free_ports(count: int) -> list[int]:
    with_ports = [socket.socket() for _ in range(count)]
    for one in with_ports:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in with_ports]
    for one in with_ports:
        one.close()
    return ports


def moved_here(out: Path, domain: str, client: int, monitor: int, leaf: int) -> Path:
    """The same configuration with this machine's addresses in place of the containers'."""
    text = (out / domain / "nats.conf").read_text()
    for there, here in {
        "0.0.0.0:4222": f"127.0.0.1:{client}",
        "127.0.0.1:8222": f"127.0.0.1:{monitor}",
        "0.0.0.0:7422": f"127.0.0.1:{leaf}",
        "hub-nats:7422": f"127.0.0.1:{leaf}",
        "/var/lib/nats": str(out / domain / "store"),
    }.items():
        assert there in text or there.endswith(":7422")
        text = text.replace(there, here)
    path = out / domain / "here.conf"
    path.write_text(text)
    return path


@asynccontextmanager
async def serving(path: Path, monitor: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(SERVER, "-c", str(path), stderr=asyncio.subprocess.DEVNULL)
    try:
        await until(f"http://127.0.0.1:{monitor}/healthz", lambda answer: answer.is_success)
        yield process
    finally:
        process.terminate()
        await process.wait()


async def until(url: str, is_so: object) -> None:
    """Ask until the answer is so."""
    async with asyncio.timeout(10), httpx.AsyncClient() as client:
        while True:
            try:
                if is_so(await client.get(url)):  # type: ignore[operator]
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.02)


async def connect(out: Path, port: int, seed_of: str | None, believed: ssl.SSLContext | None = None) -> Client:
    seed: dict[str, Any] = {"nkeys_seed": str(out / seed_of / "operator.nk")} if seed_of else {}
    believed = believed or ssl.create_default_context(cafile=out / "hub" / "ca.pem")
    encrypted: dict[str, Any] = {"tls": believed, "tls_handshake_first": True}
    return await nats.connect(f"tls://127.0.0.1:{port}", allow_reconnect=False, error_cb=quiet, **encrypted, **seed)


async def quiet(_: Exception) -> None:
    """The refusal is raised too."""
