"""A hub and a site come up by the commands of compose.yaml, as processes: the site is filled by sync, and answers."""

from __future__ import annotations

import json
import ssl
import urllib.request
from pathlib import Path

import pytest

from tests.support.compose_run import ComposeRun, compose_run
from tidegate.services.evaluation.client import bearer
from tidegate.services.fleet.access import temporary_key
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.packs.new import pack_of_documents
from tidegate.services.settings import Settings
from tidegate.sync.trust.identity import IdentityFile

pytestmark = pytest.mark.system
QUESTION, FACT = "What does parking in the yard of the branch cost?", "£4"


def make_packs(path: Path) -> Path:
    """A folder of packs, as an operator mounts it."""
    documents = path / "documents"
    documents.mkdir()
    (documents / "parking.txt").write_text("Parking in the yard of the branch costs £4 an hour.\n")
    (documents / "lockers.txt").write_text("Safe deposit lockers are in the cellar of the branch, beside the stairs.\n")
    pack_of_documents(documents, path / "packs" / "branch")
    return path / "packs"


def ask(run: ComposeRun, text: str) -> str:
    body = json.dumps({"model": "tidegate", "messages": [{"role": "user", "content": text}]}).encode()
    url = f"{run.url('site1-gateway')}/v1/chat/completions"
    with temporary_key(Settings(state_dir=str(run.folder("site1-state"))), "test") as key:
        request = urllib.request.Request(url, body, {"content-type": "application/json", **bearer(key)})
        return read_answer(request, run.believe("site1-gateway"))


def read_answer(request: urllib.request.Request, believed: ssl.SSLContext) -> str:
    with urllib.request.urlopen(request, timeout=30, context=believed) as reply:
        content: str = json.load(reply)["choices"][0]["message"]["content"]
    return content


def incarnation(run: ComposeRun) -> int:
    own = StatePaths(Settings(site="site1", state_dir=str(run.folder("site1-state"))))
    return IdentityFile(own.trust).load().incarnation


def test_a_site_is_filled_and_filled_again_by_the_commands_of_compose_and_starts_without_its_hub(
    tmp_path: Path,
) -> None:
    packs = make_packs(tmp_path)
    with compose_run(tmp_path, {"TIDEGATE_PACKS": str(packs), "TIDEGATE_PACK": "branch"}) as run:
        workers = run.of_domain("site1", workers_only=True)
        run.start("site1-nats", *workers)
        assert [name for name in workers if run.is_healthy(name)] in ([], ["site1-sync"])
        run.start(*run.of_domain("hub"))
        run.wait_healthy(*workers)
        assert "waiting_for_pack" in run.log("site1-policy")
        assert FACT in ask(run, QUESTION)
        assert incarnation(run) == 1
        run.once("site1-provision")  # as every `up` does
        assert incarnation(run) == 1

        run.stop(*workers, "site1-nats")
        for volume in ("site1-state", "site1-nats"):
            run.lose(volume)
        run.start("site1-nats")
        run.wait_healthy("site1-nats")
        run.once("site1-topology")
        run.once("site1-provision")
        assert incarnation(run) == 2
        run.start(*workers)
        run.wait_healthy(*workers)
        assert FACT in ask(run, QUESTION)
        own = StatePaths(Settings(site="site1", state_dir=str(run.folder("site1-state"))))
        held = GenerationStore(own.active("kiosk")).current()
        assert held is not None
        assert not list(run.folder("site1-state").rglob("questions.yaml")), "what is there came by sync"

        again = ("site1-sync", "site1-prefilter", "site1-policy", "site1-gateway")
        run.stop(*run.of_domain("hub", workers_only=True), "hub-nats", *again)
        run.start(*again)
        run.wait_healthy(*again)
        assert FACT in ask(run, QUESTION)
