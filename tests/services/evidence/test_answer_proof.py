"""One answer is proven to who has it, by the product and by a script that shares no code; no field can be changed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.services.evidence.test_export import SCRIPT
from tests.support.audit_logs import HUB, SITE1, SITE2, LogKey, act, answer, attack, fill
from tidegate.schemas.errors import TidegateError
from tidegate.services.evidence.answer_proof import (
    AnswerNotLoggedError,
    check_proof,
    prove_answer,
    read_proof,
)
from tidegate.services.evidence.export import NothingSignedError
from tidegate.services.evidence.log import AuditLog
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.evidence.merkle import ProofError

WITNESSED, SIZE = 21, 40
KEYS = (SITE1.known, HUB.known)
Fields = dict[str, Any]


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of two tenants, witnessed in its middle."""
    directory = tmp_path_factory.mktemp("audit")
    with AuditLog.open(directory, "site1") as log:
        fill(log, 20, tenants=("kiosk", "bank"))
        log.append([act(1)], 6_000)
        log.keep_head(HUB.cosign(SITE1.sign_head(log)), 1)
        fill(log, SIZE - WITNESSED, 21, tenants=("bank", "kiosk"))
        log.keep_checkpoint(SITE1.sign_head(log))
        log.append([answer(900)], 9_000)  # behind the signed head
    return directory


@pytest.fixture(scope="module")
def script() -> Any:
    """The independent script, as a module."""
    spec = importlib.util.spec_from_file_location("verify_export", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prove(log_dir: Path, rid: str, tenant: str = "kiosk") -> Fields:
    with AuditReader.open(log_dir) as reader:
        proven: Fields = msgspec.to_builtins(prove_answer(reader, rid, tenant, KEYS))
        return proven


def by_product(proof: Fields, *trusted: LogKey) -> dict[str, int] | None:
    """Who witnessed the head of a proof that holds; None: it does not."""
    try:
        keys = [key.known for key in trusted or (SITE1, HUB)]
        return check_proof(read_proof(json.dumps(proof).encode()), keys).witnessed
    except TidegateError:
        return None


def by_script(script: Any, proof: Fields, *trusted: LogKey) -> set[str] | None:
    """Who signed that head, by the script; None: the proof does not hold."""
    try:
        signers: set[str] = script.check_proof(proof, {key.known.key_id for key in trusted or (SITE1, HUB)})[2]
    except (script.Fault, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None
    return signers


def test_every_answer_is_proven_by_the_head_that_was_witnessed_or_else_by_a_signed_one(
    log_dir: Path, script: Any
) -> None:
    for number in [*range(20), *range(21, SIZE)]:
        tenant = ("kiosk", "bank")[number % 2] if number < 20 else ("bank", "kiosk")[number % 2]
        proof = prove(log_dir, f"r{number}", tenant)
        is_witnessed = number < WITNESSED
        assert by_product(proof) == ({"hub": 1_700_000_000} if is_witnessed else {})
        assert by_script(script, proof) == ({"site1", "hub"} if is_witnessed else {"site1"})
        assert len(json.dumps(proof)) < 6_000, "whatever the size of the log"


def test_what_is_proven_is_said_and_nothing_of_others_is_shown(log_dir: Path) -> None:
    proof = prove(log_dir, "r8")
    assert "bank" not in json.dumps(proof)
    proven = check_proof(read_proof(json.dumps(proof).encode()), KEYS)
    body: Any = answer(8).body
    assert (proven.rid, proven.tenant, proven.counter, proven.size) == ("r8", "kiosk", 8, WITNESSED)
    assert (proven.text_digest, proven.receipt_digest) == (body.text_digest, body.receipt_digest)


def test_what_cannot_be_proven_is_said(log_dir: Path, tmp_path: Path) -> None:
    for rid, tenant in (("r8", "bank"), ("r", "kiosk"), ("r4000", "kiosk")):
        with pytest.raises(AnswerNotLoggedError, match=rf"request {rid} of {tenant}"):
            prove(log_dir, rid, tenant)
    with pytest.raises(NothingSignedError, match="entry 40"):
        prove(log_dir, "r900")
    with AuditLog.open(tmp_path, "site1") as log:
        fill(log, 8, signed_every=8)
    attack(tmp_path, "UPDATE entries SET leaf = replace(leaf, 'answered', 'withheld') WHERE counter = 4")
    with pytest.raises(ProofError, match="entry 4"):
        prove(tmp_path, "r4")


def replacing(field: str, old: str, new: str) -> Callable[[Fields], Fields]:
    def change(proof: Fields) -> Fields:
        changed = proof[field].replace(old, new)
        assert changed != proof[field]
        return {**proof, field: changed}

    return change


def with_path(change: Callable[[list[str]], list[str]]) -> Callable[[Fields], Fields]:
    return lambda proof: {**proof, "path": change(proof["path"])}


def forged(proof: Fields) -> Fields:
    """Another's answer and head, signed by a key that is said to be the site's."""
    thief = LogKey("site1", seed=2)
    head = proof["head"].split("\n\n")[0] + "\n"
    lines = str(thief.sign_text(head))
    return {**proof, "head": lines, "keys": [{"owner": "site1", "public": thief.known.public.hex()}]}


CHANGES: dict[str, Callable[[Fields], Fields]] = {
    "another format": lambda proof: {**proof, "format": "tidegate-audit-export"},
    "another version": lambda proof: {**proof, "version": 2},
    "another outcome": replacing("entry", '"answered"', '"withheld"'),
    "another request": replacing("entry", '"rid":"r8"', '"rid":"r9"'),
    "another number": replacing("entry", '"counter":8', '"counter":9'),
    "a number behind the head": replacing("entry", '"counter":8', '"counter":21'),
    "a number below none": replacing("entry", '"counter":8', '"counter":-8'),
    "another domain": replacing("entry", '"domain":"site1"', '"domain":"site2"'),
    "another tenant": replacing("entry", '"tenant":"kiosk"', '"tenant":"bank"'),
    "a space in the entry": lambda proof: {**proof, "entry": proof["entry"] + " "},
    "no entry": lambda proof: {**proof, "entry": ""},
    "another hash": with_path(lambda path: ["0" * 64, *path[1:]]),
    "another top hash": with_path(lambda path: [*path[:-1], "0" * 64]),
    "hashes in another order": with_path(lambda path: path[::-1]),
    "a hash less": with_path(lambda path: path[1:]),
    "a hash more": with_path(lambda path: [*path, path[-1]]),
    "no path": with_path(lambda _: []),
    "a path of no hashes": with_path(lambda path: ["x", *path[1:]]),
    "another log": replacing("head", "tidegate.audit/site1\n", "tidegate.audit/site2\n"),
    "a head of another size": replacing("head", "\n21\n", "\n22\n"),
    "another root": lambda proof: {
        **proof,
        "head": proof["head"].replace(proof["head"].split("\n")[2], "A" * 43 + "="),
    },
    "a head that was cut": lambda proof: {**proof, "head": proof["head"].split("\n\n")[0]},
    "a head that nobody signed": lambda proof: {**proof, "head": proof["head"].split("\n\n")[0] + "\n\n"},
    "another's signature": forged,
    "no head": lambda proof: {**proof, "head": ""},
} | {
    f"no {field}": lambda proof, field=field: {key: proof[key] for key in proof if key != field}
    for field in ("format", "version", "entry", "path", "head", "keys")
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_is_changed_is_refused_by_both(name: str, log_dir: Path, script: Any) -> None:
    proof = prove(log_dir, "r8")
    assert by_product(proof) is not None
    changed = CHANGES[name](proof)
    assert by_product(changed) is None
    assert by_script(script, changed) is None


def test_a_witness_that_did_not_sign_is_none(log_dir: Path, script: Any) -> None:
    proof = prove(log_dir, "r8")
    *above, cosigned = proof["head"].rstrip("\n").split("\n")
    spoilt = {**proof, "head": "\n".join([*above, cosigned[:-6] + "AAAA" + cosigned[-2:]]) + "\n"}
    assert by_product(spoilt) == {}
    assert by_script(script, spoilt) == {"site1"}


def test_a_key_that_only_the_file_vouches_for_proves_nothing(log_dir: Path, script: Any) -> None:
    proof = prove(log_dir, "r8")
    assert by_product(proof, SITE2, HUB) is None
    for changed in (proof["keys"][1:], [{**proof["keys"][0], "owner": "site2"}, proof["keys"][1]]):
        assert by_script(script, {**proof, "keys": changed}) is None
    assert by_script(script, proof, SITE2, HUB) is None


def test_the_script_needs_nothing_of_the_product(log_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "r8.proof"
    file.write_bytes(msgspec.json.format(json.dumps(prove(log_dir, "r8")).encode()))
    trust = ["--trust", SITE1.known.key_id, "--trust", HUB.known.public.hex()]
    checked = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), str(file), *trust], capture_output=True, text=True, check=False, timeout=60
    )
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.startswith("good: the answer to r8 is entry 8 of site1\n")
    assert "head of 21 entries, signed by hub, site1" in checked.stdout
