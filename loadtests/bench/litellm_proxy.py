"""LiteLLM's proxy in an environment of its own, with its guardrail hooks on or off, in front of one model server.

Nothing is fetched once the environment is there, and nothing is reported home. Next: litellm_sides.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec

from loadtests.bench.litellm_client import MODEL, PATH, GatewaySide
from loadtests.bench.measure import MeasurementError
from loadtests.bench.peer_environment import make_environment
from tidegate.services.evaluation.client import bearer

ENVIRONMENT = Path(".venv-litellm")
VERSION = "1.106.12"
PACKAGES = (f"litellm[proxy]=={VERSION}",)
PATTERNS = ("email", "us_phone", "us_ssn", "iban", "visa", "mastercard", "ipv4")
"""What its own content filter, the guardrail that needs no other service, looks for: as near as it has to what a site
looks for in every request and answer."""
FETCHED = ("MODEL_COST_MAP", "ANTHROPIC_BETA_HEADERS", "BLOG_POSTS", "POLICY_TEMPLATES", "AUTOROUTER_PRESETS")
"""What it would ask the internet for, and has in its package too."""
QUIET = {
    **{f"LITELLM_LOCAL_{name}": "True" for name in FETCHED},
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
    "DISABLE_ADMIN_UI": "True",
    "NO_DOCS": "True",
}
APPLIED = "x-litellm-applied-guardrails"
START_WITHIN_S = 120.0
END_WITHIN_S = 15.0


def find_lacking() -> str:
    """What keeps the peer from being started; its environment is made here."""
    try:
        make_environment(ENVIRONMENT, PACKAGES)
    except OSError as error:
        return f"no environment for LiteLLM: {error}"
    return ""


@contextlib.asynccontextmanager
async def litellm_proxy(model_url: str, folder: Path, *, workers: int, guarded: bool) -> AsyncIterator[GatewaySide]:
    """The proxy at work with so many processes. Raises `MeasurementError` where it does not start."""
    key, port = f"sk-{secrets.token_hex(16)}", _free_port()
    config, log = folder / "config.yaml", folder / "litellm.log"
    write_configuration(config, configuration(model_url, key, guarded=guarded))
    python = make_environment(ENVIRONMENT, PACKAGES)
    command = (str(python.with_name("litellm")), "--config", str(config.resolve()), "--host", "127.0.0.1")
    options: tuple[str, ...] = ("--port", str(port), "--num_workers", str(workers), "--telemetry", "False")
    if workers > 1:  # a worker that imports for longer than 5 s is else taken for dead and ended, again and again
        options += ("--timeout_worker_healthcheck", f"{START_WITHIN_S:g}")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | QUIET
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, *options, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        await _wait_until_ready(process, f"{url}/health/liveliness", log)
        side = GatewaySide((url,), key)
        await _check_hooks(side, guarded=guarded)
        yield side
    finally:
        await end_process(process)


def configuration(model_url: str, key: str, *, guarded: bool) -> dict[str, object]:
    """The proxy's own configuration: one model, one key, no database, no retries."""
    model = {"model": "openai/instant", "api_base": model_url, "api_key": "none"}
    patterns = [{"pattern_type": "prebuilt", "pattern_name": name, "action": "MASK"} for name in PATTERNS]
    guardrail = {"guardrail": "litellm_content_filter", "default_on": True, "patterns": patterns}
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": model}],
        "general_settings": {"master_key": key},
        "litellm_settings": {"num_retries": 0, "set_verbose": False, "json_logs": False},
        "guardrails": [
            {"guardrail_name": f"personal-data-{mode}", "litellm_params": {**guardrail, "mode": mode}}
            for mode in ("pre_call", "post_call")
            if guarded
        ],
    }


def write_configuration(file: Path, settings: dict[str, object]) -> None:
    """A file that the proxy reads, in a folder that is made: it wants YAML, which JSON is."""
    file.parent.mkdir(parents=True)
    file.write_bytes(msgspec.json.encode(settings))


async def end_process(process: asyncio.subprocess.Process) -> None:
    """End a process that was started here, and those that it has started, which end with it."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(END_WITHIN_S):
            await process.wait()
    except TimeoutError:
        os.killpg(process.pid, 9)
        await process.wait()


async def _wait_until_ready(process: asyncio.subprocess.Process, url: str, log: Path) -> None:
    loop = asyncio.get_running_loop()
    until_s = loop.time() + START_WITHIN_S
    async with httpx.AsyncClient(trust_env=False) as http:
        while process.returncode is None and loop.time() < until_s:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(url)).status_code == httpx.codes.OK:
                    return
            await asyncio.sleep(0.2)
    output = await asyncio.to_thread(log.read_text, "utf-8", "replace")
    last = (output.strip() or "nothing").splitlines()[-1]
    raise MeasurementError(f"LiteLLM's proxy did not start within {START_WITHIN_S:g} s; it said: {last}")


async def _check_hooks(side: GatewaySide, *, guarded: bool) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "When?"}]}
    async with httpx.AsyncClient(trust_env=False, headers=bearer(side.access_key), timeout=START_WITHIN_S) as http:
        response = await http.post(f"{side.urls[0]}{PATH}", json=body)
    applied = response.headers.get(APPLIED, "")
    if response.status_code != httpx.codes.OK or bool(applied) != guarded:
        raise MeasurementError(f"LiteLLM answers {response.status_code} and has applied {applied or 'no guardrail'}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
