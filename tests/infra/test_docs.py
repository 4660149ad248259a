"""The generated pages hold what the code says, and what is written by hand names only what exists."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema_rs
import pytest

from tests.support.paths import ROOT
from tidegate import schemas
from tidegate.infra.docs import __main__ as docs
from tidegate.infra.docs.asyncapi import asyncapi_document, schema_bundle
from tidegate.infra.docs.diagram import draw_pipeline, replace_diagram
from tidegate.schemas import PIPELINE, Message, subjects
from tidegate.services.cli import COMMANDS, cli
from tidegate.services.pipeline import WORKERS

FOLDERS = (".", "docs", "loadtests", "infra/packs", "infra/models", "infra/decisions")
PAGES = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
PATH = re.compile(r"`((?:schemas|brokers|sync|services|infra|tests|loadtests|docs)/[\w./-]+)`")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)[^)]*\)")
DOCUMENT = asyncapi_document()


def refs_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from refs_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from refs_in(part)


def find_ref(document: Any, ref: str) -> Any:
    """What a `$ref` inside the document points to. Raises `KeyError` where that is nothing."""
    found = document
    for step in ref.removeprefix("#/").split("/"):
        found = found[step]
    return found


def test_no_generated_page_is_stale() -> None:
    assert not docs.stale_files(ROOT), f"run: {docs.WRITE}"


def test_a_stale_page_is_named_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "README.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert docs.main([docs.CHECK]) == 0
    (tmp_path / "docs" / "asyncapi.json").unlink()
    page = tmp_path / "README.md"
    page.write_text(page.read_text(encoding="utf-8").replace("prefilter -->", "prefilter <--"), encoding="utf-8")
    assert docs.main([docs.CHECK]) == 1
    named = capsys.readouterr().err
    assert "docs/asyncapi.json is stale" in named
    assert "README.md is stale" in named
    assert docs.main([]) == 0
    assert docs.main([docs.CHECK]) == 0
    assert page.read_text(encoding="utf-8") == (ROOT / "README.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match="usage"):
        docs.main(["--writ"])


def test_the_diagram_shows_every_stage_and_every_fact() -> None:
    drawn = draw_pipeline()
    assert all(f"        {stage.name}\n" in drawn for stage in WORKERS.values())
    assert all(f"|{kind.__name__.lower()}|" in drawn for kind in PIPELINE)
    assert replace_diagram("a<!-- stages -->stale<!-- /stages -->z") == f"a<!-- stages -->\n{drawn}\n<!-- /stages -->z"
    with pytest.raises(ValueError, match="the text has no"):
        replace_diagram("nothing")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_no_file_that_is_not_there(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]
    assert not [path for path in PATH.findall(page.read_text(encoding="utf-8")) if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_shows_only_commands_and_modules_that_there_are(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = [
        tuple(words.split())
        for words in re.findall(r"(?<!from )tidegate ([a-z]+(?:-[a-z]+)*(?: [a-z]+(?:\\?\|[a-z]+)*)?)", code_in(text))
    ]
    for name, *rest in shown:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, name
        if rest and isinstance(command, click.Group):
            assert set(rest[0].replace("\\", "").split("|")) <= set(command.commands), name
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert importlib.util.find_spec(module.rstrip(".")), module
    for file, user in re.findall(r"locust -f (\S+) (\w+)", text):
        assert f"class {user}(" in (ROOT / file).read_text(encoding="utf-8"), user
    for target in re.findall(r"\bmake ([a-z][a-z-]*)", code_in(text)):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text(encoding="utf-8"), target


def test_the_readme_lists_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [name for name in COMMANDS if f"| `.venv/bin/tidegate {name}" not in text]


def code_in(text: str) -> str:
    """What stands in code: fenced blocks, and spans between backticks."""
    fenced = "".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL))
    return "\n".join([fenced, *re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))])


def test_the_life_of_a_request_is_written_in_ten_lines_that_each_name_a_file() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    life = text.partition("## The life of a request")[2].partition("\n## ")[0]
    lines = re.findall(r"^\d+\. .*(?:\n {3,}.*)*", life, re.MULTILINE)
    assert 5 <= len(lines) <= 10
    assert all(LINK.search(line) for line in lines)
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", life))
    assert named >= set(WORKERS), "a stage is missing"


def test_the_glossary_says_each_word_once_in_one_line() -> None:
    rows = re.findall(
        r"^\| (.+?) \| (.+) \|$", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    words = [word.strip() for row, _ in rows[1:] for word in row.split(",")]
    assert len(words) == len(set(words))
    assert {"site", "hub", "stage", "fact", "receipt", "pack"} <= set(words)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert set(DOCUMENT["info"]) >= {"title", "version"}
    refs = list(refs_in(DOCUMENT))
    assert refs
    for ref in refs:
        find_ref(DOCUMENT, ref)


def test_an_operation_sends_and_receives_what_its_channel_carries() -> None:
    for name, operation in DOCUMENT["operations"].items():
        assert operation["action"] in {"send", "receive"}, name
        channel = operation["channel"]["$ref"]
        assert channel.startswith("#/channels/")
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"]), name
        if "reply" in operation:
            assert find_ref(DOCUMENT, operation["reply"]["channel"]["$ref"])["messages"], name


def test_a_channel_declares_just_the_parameters_of_its_address() -> None:
    addresses = [channel["address"] for channel in DOCUMENT["channels"].values() if channel["address"]]
    assert len(addresses) == len(set(addresses))
    for channel in DOCUMENT["channels"].values():
        assert set(channel.get("parameters", ())) == set(re.findall(r"\{(\w+)\}", channel["address"] or ""))


def test_every_message_and_every_worker_is_in_the_document() -> None:
    kinds = {kind for kind in vars(schemas).values() if isinstance(kind, type) and issubclass(kind, Message)}
    bases = {"Message", "Fact", "PlannedFact"}
    assert {kind.__name__ for kind in kinds} - bases <= set(DOCUMENT["components"]["messages"])
    carried = {ref.split("/")[-1] for ref in refs_in(DOCUMENT["channels"]) if "/messages/" in ref}
    assert carried == set(DOCUMENT["components"]["messages"]), "a message that no channel carries"
    for worker in WORKERS.values():
        operations = [operation for operation in DOCUMENT["operations"].values() if operation["summary"] == worker.name]
        moved = {message["$ref"].split("/")[-1] for operation in operations for message in operation["messages"]}
        assert moved >= {kind.__name__ for kind in (*worker.accepts, *worker.emits)}


def test_every_subject_has_a_channel() -> None:
    listed = re.findall(r"^([a-z][\w.<>|]*)(?: \| (\S+))?  ", subjects.__doc__ or "", re.MULTILINE)
    patterns = [pattern for row in listed for pattern in row if pattern and not pattern.startswith("sync.")]
    assert len(patterns) > 10
    addresses = {re.sub(r"\{\w+\}", "*", channel["address"] or "") for channel in DOCUMENT["channels"].values()}
    missing = [pattern for pattern in patterns if not any(is_like(pattern, address) for address in addresses)]
    assert not missing


def is_like(pattern: str, address: str) -> bool:
    """Whether an address with `*` for its parameters is one of those that a row of the table of subjects describes."""
    ours, theirs = pattern.split("."), address.split(".")
    return len(ours) == len(theirs) and all(
        mine == other or mine.startswith("<") for mine, other in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("sample", sorted((ROOT / "tests/schemas/golden").glob("*.json")), ids=lambda path: path.stem)
def test_the_json_schemas_accept_every_golden_message_and_no_other(sample: Path) -> None:
    message = json.loads(sample.read_text(encoding="utf-8"))
    validator = jsonschema_rs.validator_for(schema_bundle())
    validator.validate(message)
    assert not validator.is_valid({**message, "type": "nothing"})
