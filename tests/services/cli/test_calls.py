"""Calls that cannot work: each is refused with a reason and a hint, and leaves no file behind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
import pytest

from tests.support.paths import KIOSK, MODELS, ROOT
from tidegate.services.cli import COMMANDS, cli, main

GOOD = "---\nid: {id}\ntitle: A title\nlanguage: en\nscope: site\n---\n\nThe lobby opens at nine.\n"


class Call(NamedTuple):
    """What is called, and what its error says."""

    arguments: str
    code: int
    reason: str
    hint: str = ""
    environ: tuple[tuple[str, str], ...] = ()


CALLS = {
    "mistyped command": Call("tarce r1", 2, "no command 'tarce'", "'trace'"),
    "mistyped subcommand": Call("index ad x.md", 2, "no command 'ad'", "'add'"),
    "mistyped option": Call("ask hello --sitte site1", 2, "--sitte", "--site"),
    "mistyped stage": Call("worker drafer --site site1", 2, "'drafer'", "'drafter'"),
    "mistyped stage of dead letters": Call("dead list --stage publishr", 2, "'publishr'", "'publisher'"),
    "command missing": Call("index", 2, "tidegate index needs a command", "add, delete, status"),
    "no tenants": Call("ask hello", 1, "tenants", environ=(("TIDEGATE_TENANTS", ""),)),
    "command missing, conflicts": Call("sync conflicts", 2, "conflicts needs a command", "list, resolve"),
    "mistyped subcommand of sync": Call("sync verfy", 2, "no command 'verfy'", "'verify'"),
    "mistyped subcommand of publish": Call("publish polcy x", 2, "no command 'polcy'", "'policy'"),
    "publish what is not there": Call("publish pack absent", 2, "absent"),
    "publish a policy that is none": Call("publish policy good.md", 1, "good.md"),
    "version that is none": Call("sync conflicts resolve faq a --keep x", 2, "'x' is no version", "--help"),
    "import what is no bundle": Call("sync import good.md", 1, "good.md is not a bundle", "tidegate sync export"),
    "import what is not there": Call("sync import absent.bundle", 2, "absent.bundle"),
    "collection without replicas": Call("index add good.md --collection faq", 1, "no collections", "tidegate up"),
    "unknown site, sync": Call("sync repair --site site9", 1, "'site9'", "--site"),
    "unknown tenant, publish": Call("publish document good.md --tenant nobody", 1, "'nobody'", "site.toml"),
    "argument missing": Call("ask", 2, "TEXT", "tidegate ask --help"),
    "number too small": Call("demo --limit 0", 2, "--limit", "tidegate demo --help"),
    "number too large": Call("up --sites 99", 2, "--sites", "tidegate up --help"),
    "not a number": Call("ask hello --budget-ms soon", 2, "--budget-ms"),
    "dead letter zero": Call("dead show 0", 2, "0"),
    "nothing is up": Call("ask hello", 1, "nothing is up below state", "tidegate up"),
    "nothing is up, status": Call("status", 1, "nothing is up below state", "tidegate up"),
    "nothing is up, trace": Call("trace r1", 1, "nothing is up below state", "tidegate up"),
    "nothing is up, gaps": Call("gaps", 1, "nothing is up below state", "tidegate up"),
    "since that is no time": Call("gaps --since soon", 1, "'soon' is no time", "7d"),
    "nothing is up, topology": Call("topology plan", 1, "nothing is up below state", "tidegate up"),
    "nothing is up, sync": Call("sync status", 1, "nothing is up below state", "tidegate up"),
    "nothing is up, sync verify": Call("sync verify", 1, "nothing is up below state", "tidegate up"),
    "nothing is up, conflicts": Call("sync conflicts list", 1, "nothing is up below state", "tidegate up"),
    "nothing is up, export": Call("sync export documents x.bundle", 1, "nothing is up below state", "tidegate up"),
    "nothing is up, publish": Call("publish document good.md", 1, "never at the hub", "tidegate index add"),
    "nothing is up, publish to a collection": Call(
        "publish document good.md --collection faq", 1, "nothing is up below state", "tidegate up"
    ),
    "nothing is up, dead letters": Call("dead list", 1, "nothing is up below state", "tidegate up"),
    "request id that is a pattern": Call("trace a.>", 1, "'a.>'", "1 to 64"),
    "no server there": Call("ask hello", 1, "127.0.0.1:1", environ=(("TIDEGATE_NATS__URL", "nats://127.0.0.1:1"),)),
    "server without a port": Call("trace r1", 1, "nonsense", environ=(("TIDEGATE_NATS__URL", "nats://nonsense:x"),)),
    "unknown site": Call("ask hello --site site9", 1, "'site9'", "--site"),
    "unknown site, index": Call("index add good.md --site site9", 1, "'site9'", "--site"),
    "unknown site, trace": Call("trace r1 --site site9", 1, "'site9'", "--site"),
    "unknown site, dead letters": Call("dead list --site site9", 1, "'site9'", "--site"),
    "unknown site, topology": Call("topology apply --site site9", 1, "'site9'", "--site"),
    "unknown site, worker": Call("worker all --site site9", 1, "'site9'", "--site"),
    "site that is a path": Call("index add good.md --site ../x", 1, "'../x'", "--site"),
    "site that is a path, worker": Call("worker all --site ../x", 1, "'../x'", "--site"),
    "site that is a path, by environment": Call("index status", 1, "../x", environ=(("TIDEGATE_SITE", "../x"),)),
    "site that is no name": Call("ask hello --site Site1", 1, "'Site1'", "--site"),
    "questions to the hub": Call("ask hello --site hub", 1, "the hub takes no questions", "tidegate status"),
    "nothing to forget": Call("privacy erase --asker ann", 1, "site1 has no vault", "--site"),
    "unknown tenant": Call("ask hello --tenant nobody", 1, "'nobody'", "site.toml"),
    "tenant that is a path": Call("index add good.md --tenant ../x", 1, "'../x'", "site.toml"),
    "tenant that is a path, delete": Call("index delete a --tenant ../x", 1, "'../x'", "site.toml"),
    "tenant that is a path, status": Call("index status --tenant ../x", 1, "'../x'", "site.toml"),
    "tenant that is a path, trace": Call("trace r1 --tenant ../x", 1, "'../x'", "site.toml"),
    "file that is not there": Call("index add absent.md", 2, "absent.md"),
    "folder without documents": Call("index add nothing", 1, "there is no document in nothing", ".pdf"),
    "empty document": Call("index add empty.md", 1, "empty"),
    "document that is not text": Call("index add binary.md", 1, "binary.md"),
    "front matter that is not YAML": Call("index add broken.md", 1, "broken.md"),
    "two files with one id": Call("index add good.md same.md", 1, "same.md:2: the id good is taken by good.md", "mend"),
    "a picture": Call("index add photo.gif", 1, "photo.gif: this file is not read", ".png"),
    "--docs and --pack": Call("demo --docs nothing --pack nothing", 2, "--docs and --pack are two ways"),
    "index that was never made": Call("index status", 1, "no index", "tidegate up"),
    "index that was never made, delete": Call("index delete a", 1, "no index", "tidegate up"),
    "models that are missing": Call(
        "index add good.md", 1, "no models in absent", "models.export", (("TIDEGATE_MODELS_DIR", "absent"),)
    ),
    "models that are missing, worker": Call(
        "worker all --site site1", 1, "no models in absent", "multilingual", (("TIDEGATE_MODELS_DIR", "absent"),)
    ),
    "settings file that is not there": Call("ask hello --config absent.toml", 1, "absent.toml"),
    "settings file that is not TOML": Call("ask hello --config empty.md", 1, "empty.md"),
    "settings file that is not UTF-8": Call("config explain --config binary.md", 1, "binary.md"),
    "unknown setting": Call("ask hello", 1, "TIDEGATE_NATSS__URL", environ=(("TIDEGATE_NATSS__URL", "x"),)),
    "setting of another type": Call("status", 1, "gateway.port", environ=(("TIDEGATE_GATEWAY__PORT", "many"),)),
    "state directory that is a file": Call("ask hello --state good.md", 2, "good.md"),
    "state directory that is a file, by environment": Call(
        "status", 1, "good.md", environ=(("TIDEGATE_STATE_DIR", "good.md"),)
    ),
    "state directory without a name": Call("status", 1, "state_dir", environ=(("TIDEGATE_STATE_DIR", ""),)),
    "state directory that cannot be made": Call("demo --state /proc/tidegate", 1, "/proc/tidegate"),
    "pack that is not there": Call("demo --pack absent", 2, "absent"),
    "pack that is a file": Call("pack check good.md", 2, "good.md"),
    "pack without documents": Call("demo --pack nothing", 1, "nothing"),
    "pack with broken YAML": Call("up --pack torn", 1, "intents.yaml"),
    "corrupt fleet.json": Call("ask hello --state torn", 1, "fleet.json", "tidegate up"),
    "corrupt fleet.json, status": Call("status --state torn", 1, "fleet.json", "tidegate up"),
    "fleet.json that is a folder": Call("ask hello --state folder", 1, "fleet.json"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the calls are made, with the files that they name; a folder above it is watched too."""
    tmp_path = tmp_path / "here"
    tmp_path.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDEGATE_STATE_DIR", "state")
    monkeypatch.setenv("TIDEGATE_MODELS_DIR", str(MODELS))
    (tmp_path / "good.md").write_text(GOOD.format(id="good"))
    (tmp_path / "same.md").write_text(GOOD.format(id="good"))
    (tmp_path / "empty.md").write_text(GOOD.format(id="empty").replace("The lobby opens at nine.\n", ""))
    (tmp_path / "binary.md").write_bytes(b"\xff\xfe\x00\x01" * 50)
    (tmp_path / "broken.md").write_text("---\nid: [broken\n---\n\nThe lobby opens at nine.\n")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "photo.gif").write_bytes(b"GIF89a")
    (tmp_path / "folder" / "fleet.json").mkdir(parents=True)
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "fleet.json").write_bytes(b'{"pid": 1, "hub"')
    (torn / "documents").mkdir()
    (torn / "documents" / "good.md").write_text(GOOD.format(id="good"))
    (torn / "intents.yaml").write_text("- id: [")
    return tmp_path


def files_below(folder: Path) -> set[str]:
    return {str(path) for path in folder.parent.rglob("*")}


def called(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_cannot_work_says_why_and_what_to_do_and_leaves_nothing(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = CALLS[name]
    for key, value in call.environ:
        monkeypatch.setenv(key, value)
    before = files_below(folder)
    assert called(call.arguments.split()) == call.code
    out, err = capsys.readouterr()
    reason, hint = err.strip().rsplit("\n", 1)
    assert out == ""
    assert reason.startswith("error: ")
    assert hint.startswith("hint: ")
    assert call.reason in reason
    assert call.hint in hint
    assert "Traceback" not in err
    assert "internal error" not in err
    assert files_below(folder) == before


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, call in CALLS.items()
        if not call.arguments.startswith("worker") and call.arguments not in ("index", "sync conflicts")
    ],
)
def test_with_json_the_error_is_json_whatever_is_wrong(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = CALLS[name]
    for key, value in call.environ:
        monkeypatch.setenv(key, value)
    assert called([*call.arguments.split(), "--json"]) == call.code
    out, err = capsys.readouterr()
    error = msgspec.json.decode(out)["error"]
    assert err == ""
    assert call.reason in error["reason"]
    assert call.hint in error["hint"]
    assert error["code"]
    assert error["hint"]
    assert folder.exists()


def test_two_files_with_one_id_leave_the_index_as_it_was(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(["index", "add", "good.md"]) == 0
    capsys.readouterr()
    assert called(["index", "add", "same.md", "good.md"]) == 1
    assert called(["index", "add", "same.md", "empty.md"]) == 1
    capsys.readouterr()
    assert called(["index", "status", "--json"]) == 0
    status = msgspec.json.decode(capsys.readouterr().out)
    assert (status["documents"], status["ids"]) == (1, ["good"])
    assert not list(folder.rglob("same*"))[1:]


def test_a_document_that_is_not_in_the_index_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(["index", "add", "good.md"]) == 0
    capsys.readouterr()
    assert called(["index", "delete", "good", "other"]) == 1
    assert "other" in capsys.readouterr().err
    assert called(["index", "status", "--json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out)["ids"] == []
    assert folder.exists()


def test_an_index_that_was_damaged_is_no_traceback(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(["index", "add", "good.md"]) == 0
    [database] = (folder / "state").rglob("index.sqlite")
    database.write_bytes(b"{" * 4096)
    for beside in database.parent.glob("index.sqlite-*"):
        beside.unlink()
    capsys.readouterr()
    assert called(["index", "status"]) == 1
    printed = capsys.readouterr().err
    assert database.name in printed
    assert "Traceback" not in printed


def commands() -> list[list[str]]:
    """The path of every command and group."""
    found: list[list[str]] = [[]]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        found.append([name])
        found += [[name, each] for each in command.commands] if isinstance(command, click.Group) else []
    return found


@pytest.mark.parametrize("columns", ["60", "80", "200"])
@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_help_is_never_cut_and_every_option_is_explained(
    command: list[str], columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert called([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "..." not in text.replace("[ARGS]...", "").replace("PATHS...", "").replace("IDS...", "")
    assert "…" not in text
    options = text.partition("Options:\n")[2].partition("\n\n")[0].splitlines()
    bare = [line for number, line in enumerate(options) if line.lstrip().startswith("-") and is_bare(options, number)]
    assert not bare


def is_bare(lines: list[str], number: int) -> bool:
    """Whether an option has no text: neither beside it nor on the line below."""
    beside = "  " in lines[number].strip()
    below = number + 1 < len(lines) and not lines[number + 1].lstrip().startswith("-")
    return not (beside or below)


def readme_commands() -> list[list[str]]:
    """Every command that the README's table shows, one for each alternative, without its arguments."""
    rows = re.findall(r"^\| `\.venv/bin/tidegate ([^`]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    found = []
    for row in rows:
        words = [word for word in row.replace("\\|", "|").replace("[", "").replace("]", "").split() if word.islower()]
        first, *others = [word for word in words if not word.startswith("-")]
        options = [word for word in words if word.startswith("--")]
        found += [[first, *filter(None, [each]), *options] for each in (others[0].split("|") if others else [""])]
    return found


def test_every_command_of_the_readme_exists_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    shown = readme_commands()
    assert {command[0] for command in shown} == set(COMMANDS)
    for command in shown:
        names = [word for word in command if not word.startswith("-")]
        assert called([*names, "--help"]) == 0, command
        text = capsys.readouterr().out
        assert all(option in text for option in command if option.startswith("--")), command


def test_the_kiosk_pack_is_found_whatever_the_working_directory_is(folder: Path) -> None:
    from tidegate.services.cli.options import find_default_pack

    assert find_default_pack().resolve() == KIOSK.resolve()
    assert folder.exists()
