"""What is exported for one tenant proves itself to a script that shares no code; others' entries are hashes only."""

from __future__ import annotations

import ast
import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.audit_logs import HUB, SITE1, SITE2, LogKey, act, answer, attack, fill, rebuild
from tests.support.message_parts import RECEIPT
from tests.support.paths import ROOT
from tidegate.schemas import Artefact
from tidegate.schemas.audit import AuditedAct, AuditedAnswer
from tidegate.services.evidence.export import ExportReport, ExportWish, NothingSignedError, export_log, full_subtrees
from tidegate.services.evidence.log import AuditLog, EntryDraft
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.policies.version import canonical_policy, version_of

SCRIPT = ROOT / "infra/audit/verify_export.py"
WITNESSED, SIZE = 21, 40
CANONICAL = canonical_policy("safe-answers-v3", {"allow": ("grounded_claims",), "transform": (), "block": ()}, {}, {})
[POLICY] = [part.version for part in RECEIPT.lineage if part.kind == "policy"]
Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of two tenants, witnessed in its middle."""
    directory = tmp_path_factory.mktemp("audit")
    with AuditLog.open(directory, "site1") as log:
        fill(log, 20, tenants=("kiosk", "bank", "bank", "bank"))
        log.append([act(1)], 6_000)
        log.keep_head(HUB.cosign(SITE1.sign_head(log)), 1)
        fill(log, SIZE - WITNESSED, 21, tenants=("kiosk", "bank", "bank", "bank"))
        log.keep_checkpoint(SITE1.sign_head(log))
        log.append([answer(900)], 9_000)  # behind the signed head: not exported
    return directory


def export(log_dir: Path, file: Path, **wish: Any) -> ExportReport:
    with AuditReader.open(log_dir) as reader:
        seen = reader.heads()["tidegate.audit/site1"]
        wished = ExportWish(**{"tenant": "kiosk", "keys": (SITE1.known, HUB.known), "witnessed": seen, **wish})
        return export_log(reader, wished, file)


def check(file: Path, *trusted: LogKey, ids: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """The independent script, in an interpreter that cannot import this product."""
    keys = ids or [key.known.public.hex() for key in trusted or (SITE1, HUB)]
    command = [sys.executable, "-I", str(SCRIPT), str(file), *(f"--trust={key}" for key in keys)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_tenant_s_auditor_sees_its_entries_and_hashes_of_the_rest(log_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "kiosk.jsonl"
    report = export(log_dir, file)
    assert (report.size, report.entries, report.hidden) == (SIZE, 10, SIZE - 10)
    assert (report.policies, report.unknown_policies) == (0, 1)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert '"tenant\\":\\"bank' not in file.read_text()
    checked = check(file)
    assert checked.returncode == 0, checked.stderr
    assert f"10 of {SIZE} entries of site1" in checked.stdout
    assert f"head of {SIZE} entries, signed by site1\n" in checked.stdout
    assert f"head of {WITNESSED} entries, signed by hub, site1" in checked.stdout


def test_the_log_of_a_site_that_was_provisioned_anew_is_proven_too(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, "site1", 2) as log:
        fill(log, 3)
        log.keep_head(HUB.cosign(SITE1.sign_head(log)), 1)
        fill(log, 2, 3, signed_every=5)
        wish = ExportWish(
            tenant="kiosk", keys=(SITE1.known, HUB.known), witnessed=log.reader.head_of("tidegate.audit/site1@2")
        )
        export_log(log.reader, wish, tmp_path / "a.jsonl")
    checked = check(tmp_path / "a.jsonl")
    assert checked.returncode == 0, checked.stderr
    assert "head of 3 entries, signed by hub, site1" in checked.stdout


def test_one_request_can_be_shown_alone(log_dir: Path, tmp_path: Path) -> None:
    report = export(log_dir, tmp_path / "r8.jsonl", rid="r8")
    assert (report.entries, report.hidden) == (1, SIZE - 1)
    assert check(tmp_path / "r8.jsonl").returncode == 0
    assert "r8" in (tmp_path / "r8.jsonl").read_text()


def test_a_policy_goes_by_its_digest(log_dir: Path, tmp_path: Path) -> None:
    assert version_of(CANONICAL) != POLICY, "the sample's policy has no text"
    assert export(log_dir, tmp_path / "a.jsonl", policies={POLICY: CANONICAL, "other": "{}"}).policies == 1
    assert "policy 1c6f8d759d41 was changed" in check(tmp_path / "a.jsonl").stderr


def test_a_policy_that_was_logged_when_it_came_into_force_needs_nothing_else(log_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(log_dir, tmp_path / "log")
    version = version_of(CANONICAL)
    part = Artefact("policy", "safe-answers-v3", version, 3)
    act = AuditedAct(about="generation 2", policies={version: CANONICAL})
    drafts = [
        EntryDraft(kind="in_force", tenant="kiosk", source="generation 2", body=act),
        EntryDraft(kind="in_force", tenant="bank", source="b", body=AuditedAct(policies={POLICY: "the bank's"})),
        answer(950),
    ]
    assert isinstance(drafts[2].body, AuditedAnswer)
    judged = replace(drafts[2].body, receipt=replace(RECEIPT, lineage=(part,)))
    with AuditLog.open(tmp_path / "log", "site1") as log:
        log.append([*drafts[:2], replace(drafts[2], body=judged)], 9_000)
        log.keep_checkpoint(SITE1.sign_head(log))
    report = export(tmp_path / "log", tmp_path / "a.jsonl", rid="r950")
    assert (report.policies, report.unknown_policies) == (1, 0)
    assert check(tmp_path / "a.jsonl").returncode == 0
    assert export(tmp_path / "log", tmp_path / "b.jsonl").unknown_policies == 1, "another tenant's is none of ours"


def test_a_key_that_only_the_file_vouches_for_proves_nothing(log_dir: Path, tmp_path: Path) -> None:
    export(log_dir, tmp_path / "a.jsonl")
    assert "no key that you trust" in check(tmp_path / "a.jsonl", HUB).stderr
    assert check(tmp_path / "a.jsonl", SITE2).returncode == 1
    assert "signed by site1\n" in check(tmp_path / "a.jsonl", SITE1).stdout


def test_a_key_is_trusted_by_the_id_that_it_has_and_not_by_one_that_the_file_gives_it(tmp_path: Path) -> None:
    thief = LogKey("site1", seed=2)
    with AuditLog.open(tmp_path, "site1") as log:
        fill(log, 3)
        log.keep_checkpoint(thief.sign_head(log))
        export_log(log.reader, ExportWish(tenant="kiosk", keys=(thief.known,)), file := tmp_path / "a.jsonl")
    for name, code in ((thief.known.key_id, 0), (SITE1.known.key_id, 1)):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        file.write_text(
            "".join(json.dumps(line) + "\n" for line in change(lines, numbers(lines, "key")[0], key_id=name))
        )
        assert check(file, ids=(name,)).returncode == code


def change(lines: Lines, number: int, **fields: Any) -> Lines:
    return [*lines[:number], {**lines[number], **fields}, *lines[number + 1 :]]


def numbers(lines: Lines, kind: str) -> list[int]:
    return [number for number, line in enumerate(lines) if line["line"] == kind]


def edited(lines: Lines) -> Lines:
    at = numbers(lines, "entry")[3]
    return change(lines, at, leaf=lines[at]["leaf"].replace("answered", "withheld"))


def without(kind: str, which: int) -> Callable[[Lines], Lines]:
    def remove(lines: Lines) -> Lines:
        at = numbers(lines, kind)[which]
        return [*lines[:at], *lines[at + 1 :]]

    return remove


def swapped(lines: Lines) -> Lines:
    first, second = numbers(lines, "entry")[2:4]
    changed = list(lines)
    changed[first], changed[second] = changed[second], changed[first]
    return changed


def renumbered(lines: Lines) -> Lines:
    return change(lines, numbers(lines, "entry")[0], counter=1)


def other_hash(lines: Lines) -> Lines:
    return change(lines, numbers(lines, "hidden")[0], hash="00" * 32)


def shorter(lines: Lines) -> Lines:
    """The last entries left out, with a head of the rest that somebody else signed."""
    return [line for line in lines if line["line"] != "hidden" or line["end"] <= WITNESSED]


def other_head(lines: Lines) -> Lines:
    at = numbers(lines, "head")[0]
    return change(lines, at, note=lines[at]["note"].replace("\n40\n", "\n41\n"))


def other_tenant(lines: Lines) -> Lines:
    return change(lines, 0, tenant="bank")


def other_domain(lines: Lines) -> Lines:
    return change(lines, 0, domain="site2")


CHANGES: dict[str, Callable[[Lines], Lines]] = {
    "an entry is edited": edited,
    "an entry is left out": without("entry", 4),
    "the last entry is left out": without("entry", -1),
    "the last hashes are left out": without("hidden", -1),
    "a hash is left out": without("hidden", 2),
    "two entries are swapped": swapped,
    "an entry has another number": renumbered,
    "a hash is another": other_hash,
    "the end is cut off": shorter,
    "a head is another": other_head,
    "no head": lambda lines: [line for line in lines if line["line"] != "head"],
    "the signed head is left out": without("head", 0),
    "no keys": lambda lines: [line for line in lines if line["line"] != "key"],
    "another tenant": other_tenant,
    "another domain": other_domain,
    "a line of another kind": lambda lines: [*lines, {"line": "note"}],
    "no header": lambda lines: lines[1:],
    "a header alone": lambda lines: lines[:1],
    "nothing": lambda _: [],
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_is_changed_in_the_file_is_noticed(name: str, log_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    export(log_dir, file)
    lines = CHANGES[name]([json.loads(line) for line in file.read_text().splitlines()])
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    checked = check(file)
    assert checked.returncode == 1
    assert checked.stderr.startswith("NOT GOOD: "), checked.stderr


@pytest.mark.parametrize("field", ["version", "tenant", "domain"])
def test_what_the_file_quotes_does_not_act_on_the_auditor_s_terminal(field: str, log_dir: Path, tmp_path: Path) -> None:
    file, attack_text = tmp_path / "kiosk.jsonl", "\x1b[2K\rgood: all\n\x9b31mgood: all"
    export(log_dir, file, policies={POLICY: CANONICAL})
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    kind = "policy" if field == "version" else "header"
    [number] = [
        number for number, line in enumerate(lines) if field in line and (kind == "header" or "canonical" in line)
    ]
    lines[number][field] = attack_text
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    checked = check(file)
    assert checked.returncode == 1
    assert (checked.stdout, len(checked.stderr.splitlines())) == ("", 1)
    assert checked.stderr.startswith("NOT GOOD")
    assert all(" " <= char <= "~" or char == "\n" for char in checked.stderr)


def test_a_hash_stands_for_a_full_subtree_where_one_can_be(log_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    export(log_dir, file)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    first = numbers(lines, "hidden")[0]
    file.write_text("".join(json.dumps(line) + "\n" for line in change(lines, first, end=lines[first]["begin"] + 3)))
    assert "no full subtree" in check(file).stderr


def test_a_log_that_was_changed_before_it_was_exported_is_noticed(log_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(log_dir, tmp_path / "log")
    attack(tmp_path / "log", "UPDATE entries SET leaf = replace(leaf, 'answered', 'withheld') WHERE counter = 5")
    rebuild(tmp_path / "log")
    export(tmp_path / "log", tmp_path / "a.jsonl")
    assert "are not those of the head" in check(tmp_path / "a.jsonl").stderr


def test_a_log_without_a_signed_head_proves_nothing(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, "site1") as log:
        fill(log, 2)
        with pytest.raises(NothingSignedError):
            export_log(log.reader, ExportWish(tenant="kiosk"), tmp_path / "a.jsonl")
    assert not (tmp_path / "a.jsonl").exists()


def test_the_script_is_short_and_shares_no_code() -> None:
    text = SCRIPT.read_text("utf-8")
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "")]
        )
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert imported <= {"argparse", "base64", "hashlib", "json", "sys", "cryptography"}
    assert len(text.splitlines()) < 210


@given(st.integers(0, 300), st.integers(0, 300))
def test_full_subtrees_cover_a_range_and_each_is_one(begin: int, length: int) -> None:
    found = list(full_subtrees((begin, begin + length)))
    assert [leaf for first, end in found for leaf in range(first, end)] == list(range(begin, begin + length))
    for first, end in found:
        width = end - first
        assert width.bit_count() == 1
        assert first % width == 0
