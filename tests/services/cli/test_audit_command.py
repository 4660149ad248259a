"""`tidegate audit`: what is listed, checked and handed out, and the exit code by which a script knows."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.support.audit_logs import act, answer, attack
from tests.support.command_line import CommandLine
from tests.support.paths import ROOT
from tidegate.schemas import replace
from tidegate.schemas.audit import AuditedAct
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.replay import find_answers
from tidegate.services.evidence.heads import HeadKeys
from tidegate.services.evidence.log import AuditLog, EntryDraft
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings
from tidegate.sync.trust.keys import KeyStore
from tidegate.sync.trust.live_keys import LiveKeys


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The hub and site1 of one machine: site1 has a log, of which the hub has witnessed the first half."""
    settings = Settings(state_dir=str(tmp_path))
    keys = KeyStore(tmp_path / "keys")
    for domain in (HUB, "site1"):
        keys.generate("author", domain, 1)
    site, hub = (HeadKeys(LiveKeys(tmp_path / "keys", domain), lambda: 5) for domain in ("site1", HUB))
    odd = EntryDraft(kind="violated", source="odd", body=AuditedAct(about="\x1b[2Jcleared", count=3))
    with (
        AuditLog.open(StatePaths(replace(settings, site="site1")).audit, "site1") as log,
        AuditLog.open(StatePaths(replace(settings, site=HUB)).audit, HUB) as hubs,
    ):
        log.append([answer(number) for number in range(3)], 10)
        seen = hub.cosign(site.sign(log.reader.head()), HUB)
        log.keep_head(seen, 1)
        hubs.keep_head(seen, 1)
        log.append([act(1), odd, answer(4, "bank")], 20)
        log.keep_checkpoint(site.sign(log.reader.head()))
    return tmp_path


@pytest.fixture
def command_line(state: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    command = CommandLine(str(state))
    command.capsys = capsys
    return command


def test_the_newest_entries_are_listed_and_nothing_reaches_the_terminal_raw(command_line: CommandLine) -> None:
    lines = command_line.run("audit", "list").splitlines()
    assert lines[-1] == "6 entries of the audit log of site1"
    assert [line.split()[0] for line in lines[:-1]] == ["0", "1", "2", "3", "4", "5"]
    assert "r0" in lines[0]
    assert "safe-answers-v3@0" in lines[0]
    assert "?[2Jcleared x3" in lines[4]
    assert "\x1b" not in "".join(lines)
    newest = command_line.run("audit", "list", "--limit", "2").splitlines()
    assert [line.split()[0] for line in newest[:-1]] == ["4", "5"]


@pytest.mark.parametrize(
    ("options", "counters"),
    [(("--kind", "key_rotated"), [3]), (("--rid", "r1"), [1]), (("--kind", "withheld"), [])],
)
def test_a_list_can_be_narrowed(command_line: CommandLine, options: tuple[str, ...], counters: list[int]) -> None:
    listed = msgspec.json.decode(command_line.run("audit", "list", *options, "--json"))
    assert [entry.get("counter", 0) for entry in listed] == counters


def test_a_kind_that_there_is_not_is_a_mistake(command_line: CommandLine) -> None:
    assert "there is no kind of entry 'key_rotatet'" in command_line.run(
        "audit", "list", "--kind", "key_rotatet", expected=2
    )


def test_a_good_log_is_good_and_held_against_the_heads_of_others(command_line: CommandLine) -> None:
    report = command_line.json("audit", "verify")
    assert report["is_good"]
    assert (report["size"], report["signed"], report["witnessed"]) == (6, 6, 3)
    assert report["heads"] == ["the hub, as the log itself has it", "the log of hub"]
    assert "good" in command_line.run("audit", "verify").splitlines()


def test_what_was_changed_is_named_and_the_exit_code_is_1(command_line: CommandLine, state: Path) -> None:
    attack(
        state / "site1" / "audit", "UPDATE entries SET leaf = replace(leaf, 'answered', 'withheld') WHERE counter = 1"
    )
    assert "fault: edited: entry 1" in command_line.run("audit", "verify", expected=1)
    attack(state / "site1" / "audit", "UPDATE entries SET leaf = 'x' WHERE counter = 1")
    assert "1 entries cannot be read" in command_line.run("audit", "list")


def test_a_head_that_somebody_kept_finds_a_log_that_was_cut(
    command_line: CommandLine, state: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.head"
    shown = command_line.json("audit", "head", "--out", str(kept))
    assert (shown["size"], shown["witnessed_size"]) == (6, 3)
    assert kept.read_text("utf-8") == shown["head"]
    assert command_line.json("audit", "verify", "--head", str(kept))["witnessed"] == 6
    log = state / "site1" / "audit"
    attack(log, "DELETE FROM entries WHERE counter > 2", "DELETE FROM checkpoints", "DELETE FROM heads")
    report = command_line.json("audit", "verify", "--head", str(kept), expected=1)
    assert [fault["kind"] for fault in report["faults"]] == ["truncated"]
    assert "no head was signed yet" in command_line.run("audit", "head")


def test_a_file_that_is_no_head_is_an_error(command_line: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("nothing")
    assert "no signed note" in command_line.run("audit", "verify", "--head", str(tmp_path / "x"), expected=1)


def test_an_export_is_checked_by_the_script_that_it_names(command_line: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "kiosk.jsonl"
    report = command_line.json("audit", "export", str(file))
    assert (report["entries"], report["hidden"]) == (5, 1)
    trust = [word for key in report["trust"] for word in ("--trust", key)]
    script = [sys.executable, "-I", str(ROOT / "infra/audit/verify_export.py"), str(file), *trust]
    checked = subprocess.run(script, capture_output=True, text=True, check=False, timeout=60)
    assert checked.returncode == 0, checked.stderr
    assert "signed by hub, site1" in checked.stdout


def test_one_answer_is_proven_in_a_file_that_the_command_and_the_script_check(
    command_line: CommandLine, tmp_path: Path
) -> None:
    file = tmp_path / "r1.proof"
    made = command_line.json("audit", "prove", "r1", "-o", str(file))
    assert (made["counter"], made["size"], list(made["witnessed"])) == (1, 3, ["hub"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    checked = command_line.json("audit", "verify", "--proof", str(file))
    assert checked == {key: made[key] for key in checked}
    assert "r1 of kiosk is entry 1 of the log of site1" in command_line.run("audit", "verify", "--proof", str(file))
    trust = [word for key in made["trust"] for word in ("--trust", key)]
    script = [sys.executable, "-I", str(ROOT / "infra/audit/verify_export.py"), str(file), *trust]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "signed by hub, site1" in done.stdout
    file.write_text(file.read_text().replace("answered", "withheld"))
    assert "entry 1 is not in the log" in command_line.run("audit", "verify", "--proof", str(file), expected=1)
    assert subprocess.run(script, capture_output=True, check=False, timeout=60).returncode == 1
    file.write_text("nothing")
    assert "no proof of an answer" in command_line.run("audit", "verify", "--proof", str(file), expected=1)


def test_what_has_no_entry_is_not_proven(command_line: CommandLine, tmp_path: Path) -> None:
    file = str(tmp_path / "x")
    assert "no entry of an answer" in command_line.run("audit", "prove", "r4", "-o", file, expected=1), "the bank's"
    assert not (tmp_path / "x").exists()


def test_where_no_log_is_kept_the_error_says_how_one_is(command_line: CommandLine, state: Path) -> None:
    (state / "site1" / "audit" / "log.sqlite").unlink()
    assert "worker audit" in command_line.run("audit", "verify", expected=1)


def test_what_is_to_be_decided_again_is_named_and_must_be_in_the_log(command_line: CommandLine) -> None:
    assert "give the RID of a request, --newest N, or --from TIME" in command_line.run("replay", expected=2)
    assert "give the RID of a request, --newest N, or --from TIME" in command_line.run(
        "replay", "r1", "--newest", "2", expected=2
    )
    assert "no answer r99" in command_line.run("replay", "r99", expected=1)
    assert "need --from" in command_line.run("replay", "r1", "--to", "1h", expected=2)
    assert "is not before" in command_line.run("replay", "--from", "1h", "--to", "2h", expected=1)
    assert "is no time" in command_line.run("replay", "--from", "soon", expected=1)


def test_the_newest_answers_are_those_of_the_tenant_that_is_named(state: Path) -> None:
    settings = Settings(state_dir=str(state), site="site1")
    assert list(find_answers(settings, None, 2)) == ["r4", "r2"]
    assert list(find_answers(settings, None, 2, "kiosk")) == ["r2", "r1"]
    assert list(find_answers(settings, None, 2, "bank")) == ["r4"]


def test_another_log_is_accepted_with_a_reason_and_reported_where_it_is_known(
    command_line: CommandLine, state: Path
) -> None:
    assert "--reason" in command_line.run("audit", "accept", "site1", "--site", "hub", expected=2)
    command_line.run("audit", "accept", "site1", "--site", "hub", "--reason", "its disk was lost")
    [waiting] = EventSpool(state / "hub" / "audit" / "events").waiting(9)
    assert waiting.event is not None
    assert (waiting.event.kind, waiting.event.act.about) == ("head_accepted", "site1")
    assert "no name of a site" in command_line.run("audit", "accept", "No Site", "--reason", "x", expected=2)
