"""Whoever writes a question, a document or a name writes nothing that a terminal acts on, and no second line of a log.

Every command prints through one file; that this is so is checked in the source, and that file is attacked here."""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.support.message_parts import RECEIPT
from tests.support.paths import ROOT
from tidegate.brokers.base import StoredMessage
from tidegate.brokers.process.telemetry import Telemetry
from tidegate.schemas import Citation, Published, RejectError, Rewriting, Suggestion, UnreadableError, encode, replace
from tidegate.schemas.readable import readable, readable_json
from tidegate.services.cli import errors
from tidegate.services.cli.ask import show_answer
from tidegate.services.cli.evidence import describe_fact
from tidegate.services.cli.options import print_result
from tidegate.services.cli.progress import BarProgress, LineProgress, make_bars
from tidegate.services.cli.tables import make_table
from tidegate.services.cli.terminal import ReadableConsole, echo, log_readably
from tidegate.services.evidence.entries import plain

ATTACKS = (
    "\x1b[2J\x1b[H",  # clears the screen
    "\x1b]0;owned\x07",  # renames the window
    "\x9b31m",  # the same introducer in one character
    "\x1b]52;c;aGk=\x1b\\",  # writes the clipboard
    "ok\rerror: forged",  # writes over the line
    "\u202egnp.exe",  # reads backwards
    "a\u2028b",  # another line, for some
    "\x08\x08\x7f",  # rubs out
    "\x00",
)
PAYLOAD = "".join(ATTACKS)
TERMINAL = "services/cli/terminal.py"


def acting(text: str) -> set[str]:
    """The characters of an output that act."""
    return {char for char in text if char not in "\n\t" and char != readable(char)}


def test_the_attacks_are_some() -> None:
    assert all(acting(each) for each in ATTACKS)
    assert acting("Grüße, 12\xa0€ – 你好\u200d 🏦\n\tok") == set(), "letters of any language are let through"


@given(st.text())
def test_no_text_acts_and_what_does_not_act_stays(text: str) -> None:
    shown = readable(text)
    assert acting(shown) == set()
    assert len(shown) == len(text)
    assert all(after == before or before in acting(text) for before, after in zip(text, shown, strict=True))


def whole(text: str) -> str:
    """Without halves of surrogate pairs, which JSON has no bytes for."""
    return text.encode("utf-8", "replace").decode()


@given(st.dictionaries(st.text(), st.text()))
def test_json_says_the_same_and_does_not_act(value: dict[str, str]) -> None:
    clean = {whole(key): whole(each) for key, each in value.items()}
    data = readable_json(msgspec.json.encode(clean))
    assert acting(data.decode()) == set()
    assert msgspec.json.decode(data) == clean


def printing_calls(path: Path) -> Iterator[str]:
    """What a file calls that prints, other than through the terminal's own functions."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in {"print", "click.echo", "click.secho", "Console"}:
            yield f"{path.relative_to(ROOT)}:{node.lineno} {called}"
        if called.startswith(("sys.stdout.", "sys.stderr.")) and called.rpartition(".")[2] not in ("isatty", "fileno"):
            yield f"{path.relative_to(ROOT)}:{node.lineno} {called}"


def test_nothing_is_printed_beside_the_one_file() -> None:
    files = [path for path in (ROOT / "services").rglob("*.py") if path.relative_to(ROOT).as_posix() != TERMINAL]
    assert [call for path in files for call in printing_calls(path)] == []
    assert any("click.echo" in call for call in printing_calls(ROOT / TERMINAL))


def published() -> Published:
    """An answer of which every text was written by an attacker."""
    citation = Citation(document_id=PAYLOAD, document_version=PAYLOAD, start=0, end=1, quote=PAYLOAD, signer=PAYLOAD)
    suggestion = Suggestion(
        document_id=PAYLOAD,
        document_version="v",
        title=PAYLOAD,
        start=0,
        end=1,
        quote=PAYLOAD,
        score=0.5,
        heading=PAYLOAD,
    )
    receipt = replace(RECEIPT, rewriting=Rewriting("rules", PAYLOAD))
    return Published(
        rid="r1", tenant="kiosk", site="site1", asked_at_ms=1, deadline_at_ms=2, outcome="answered", text=PAYLOAD,
        reason=PAYLOAD, citations=(citation,), suggestions=(suggestion,), notices=(PAYLOAD,), receipt=receipt,
    )  # fmt: skip


def test_an_answer_is_shown_and_traced_without_acting(capsys: pytest.CaptureFixture[str]) -> None:
    answer = published()
    show_answer(answer)
    row = describe_fact(StoredMessage("ANSWERS", 1, 1.0, f"answers.{PAYLOAD}", {"h": PAYLOAD}, encode(answer)), 0.0)
    print_result(row, f"{row['fact']} {row['gist']}", as_json=False)
    print_result(row, "", as_json=True)
    echo(PAYLOAD, err=True, nl=False)
    out, err = capsys.readouterr()
    assert (acting(out), acting(err)) == (set(), set())
    assert out.count("owned") >= 4, "it is there, to be read"
    last = msgspec.json.decode(out.splitlines()[-1].encode())
    assert last["body"]["text"] == PAYLOAD, "JSON has the value as it is"


@pytest.mark.parametrize("as_json", [True, False])
def test_an_error_does_not_act(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    arguments = ["--json"] if as_json else []
    for error in (RejectError(PAYLOAD, PAYLOAD), UnreadableError(PAYLOAD), FileNotFoundError(2, PAYLOAD, PAYLOAD)):
        assert errors.report(error, arguments) == 1
    out, err = capsys.readouterr()
    assert acting(out + err) == set()
    assert "owned" in out + err


def test_tables_bars_and_lines_of_progress_do_not_act(capsys: pytest.CaptureFixture[str]) -> None:
    drawn = io.StringIO()
    console = ReadableConsole(file=drawn, width=400, color_system=None, force_terminal=False)
    console.print(make_table(PAYLOAD, (PAYLOAD,), [(PAYLOAD,)]))
    console.print(f"problem: {PAYLOAD}")
    bars = make_bars(Console(file=drawn, width=200, color_system=None, force_terminal=False))
    with bars as shown:
        reporter = BarProgress(shown)
        reporter.start(PAYLOAD, 2)
        reporter.step(PAYLOAD)
        reporter.show(PAYLOAD)
    assert "owned" in drawn.getvalue()
    assert acting(drawn.getvalue()) == set()
    LineProgress().start(PAYLOAD)
    assert acting("".join(capsys.readouterr())) == set()


def logged(value: str) -> Any:
    """An error that quotes what somebody wrote, and a field that does."""
    try:
        raise ValueError(value)
    except ValueError as error:
        structlog.get_logger().error("attacked", reason=value, exc_info=error)


def test_a_log_for_people_and_one_for_machines_have_no_line_of_an_attacker() -> None:
    people, machines = io.StringIO(), io.BytesIO()
    try:
        log_readably(people)
        logged(f"{PAYLOAD}")
    finally:
        structlog.reset_defaults()
    try:
        Telemetry("site1", output=machines, level="info").adopt_loggers()
        structlog.get_logger().error("attacked", reason=f"{PAYLOAD}\nforged")
    finally:
        structlog.reset_defaults()
    assert "owned" in people.getvalue()
    assert acting(people.getvalue()) == set()
    [line] = machines.getvalue().decode().splitlines()
    assert acting(line) == set()
    assert msgspec.json.decode(line)["reason"] == f"{PAYLOAD}\nforged"


def test_what_the_audit_log_quotes_is_printable_ascii() -> None:
    assert plain(PAYLOAD).isascii()
    assert plain(PAYLOAD).isprintable()
