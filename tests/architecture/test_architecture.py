"""What makes this a house and not a heap: its floors, its one table, the size of its rooms."""

from __future__ import annotations

import ast
import asyncio
import functools
import gc
import importlib
import inspect
import os
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

from tests.support.paths import ROOT
from tidegate.brokers.stage import Stage
from tidegate.schemas import PIPELINE, Asked, Message, Published
from tidegate.services.pipeline import FAST_LANE, HUB_WORKERS, SITE_WORKERS, STAGES, WORKERS

PRODUCT = ("schemas", "brokers", "sync", "services")
TOP = {
    ".ci", ".dockerignore", ".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "brokers", "docs", "infra",
    "loadtests", "pyproject.toml", "schemas", "services", "sync", "tests",
}  # fmt: skip
ENGINES = ("onnxruntime", "tantivy", "hnswlib", "vllm")
VAGUE = {"utils", "util", "common", "helpers", "helper", "manager", "misc", "shared"}
MAX_FILE, MAX_FUNCTION = 300, 40

every_worker = pytest.mark.parametrize("stage", WORKERS.values(), ids=lambda stage: stage.name)


@functools.cache
def trees(*floors: str) -> dict[Path, ast.Module]:
    paths = sorted(path for floor in floors for path in (ROOT / floor).rglob("*.py"))
    gc.disable()  # a collection in mid-parse may itself parse, which Python 3.11 takes for a fault (gh-106905)
    try:
        return {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    finally:
        gc.enable()


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_the_contracts_of_the_floors_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    loop = asyncio.new_event_loop()  # the linter makes one if it finds none, and leaves it open
    asyncio.set_event_loop(loop)
    try:
        assert lint_imports(cache_dir=None) == 0
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_every_fact_has_one_writer_row_and_a_reader_or_is_the_last() -> None:
    read = [kind for stage in STAGES for kind in stage.accepts]
    written = {kind for stage in STAGES for kind in stage.emits}
    assert len(read) == len(set(read)), "two stages read the same type"
    assert written - set(read) == {Published}
    assert set(read) - written == {Asked}
    assert written | {Asked} == set(PIPELINE)


def test_the_pipeline_has_no_cycle() -> None:
    def after(stage: Stage, path: tuple[str, ...]) -> None:
        assert stage.name not in path, " → ".join((*path, stage.name))
        for follower in STAGES:
            if set(stage.emits) & set(follower.accepts):
                after(follower, (*path, stage.name))

    for stage in STAGES:
        after(stage, ())


def test_the_fast_lane_overtakes_a_stage_and_adds_no_new_way() -> None:
    written = {kind for stage in STAGES for kind in stage.emits}
    assert set(FAST_LANE.accepts) | set(FAST_LANE.emits) <= written
    assert set(SITE_WORKERS) | set(HUB_WORKERS) == set(WORKERS.values())
    assert not set(SITE_WORKERS) & set(HUB_WORKERS)


@every_worker
def test_a_stage_s_name_is_its_room_s_name(stage: Stage) -> None:
    assert stage.open == f"tidegate.services.stages.{stage.name.replace('-', '_')}:open"


@every_worker
def test_a_handler_takes_just_what_its_row_accepts(stage: Stage) -> None:
    module = importlib.import_module(f"{stage.open.partition(':')[0]}.handler")
    verbs = [
        verb
        for verb in vars(module).values()
        if inspect.iscoroutinefunction(verb)
        and verb.__module__ == module.__name__
        and not verb.__name__.startswith("_")
    ]
    taken = [first_taken(verb) for verb in verbs]
    assert set(stage.accepts) in taken, f"none of {[verb.__name__ for verb in verbs]} takes {stage.accepts}"


def first_taken(verb: object) -> set[type[Message]]:
    hints = typing.get_type_hints(verb)
    first = next(iter(inspect.signature(typing.cast("typing.Any", verb)).parameters), "")
    hint = hints.get(first)
    return set(typing.get_args(hint)) or {typing.cast("type[Message]", hint)}


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_is_imported_in_one_room(engine: str) -> None:
    rooms = {
        path for path, tree in trees(*PRODUCT).items() if any(name.split(".")[0] == engine for name in imported(tree))
    }
    assert len(rooms) == 1, rooms


def test_no_file_is_too_long() -> None:
    lengths = {
        path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in trees(*PRODUCT, "loadtests")
    }
    assert not {str(path): length for path, length in lengths.items() if length > MAX_FILE}


def test_no_function_is_too_long() -> None:
    assert not {
        f"{path}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, tree in trees(*PRODUCT, "loadtests").items()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno + 1 > MAX_FUNCTION
    }


def test_every_room_says_in_one_breath_what_it_is_for() -> None:
    silent = [str(path) for path, tree in trees(*PRODUCT, "loadtests").items() if not ast.get_docstring(tree)]
    assert not silent


def test_no_room_has_a_vague_name() -> None:
    vague = [path for path in trees(*PRODUCT, "loadtests") if {*path.with_suffix("").parts} & VAGUE]
    assert not vague


def test_the_top_level_is_what_it_is_said_to_be() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: there is no list of what belongs to it")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert {name.split("/")[0] for name in listed.split("\0") if name} <= TOP


def test_embedding_reports_to_nobody(tmp_path: Path) -> None:
    if not (ROOT / "services" / "knowledge" / "embedding.py").exists():
        pytest.skip("no room embeds")
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    subprocess.run(
        [sys.executable, "-c", "import tidegate.services.knowledge.embedding"],
        cwd=ROOT,
        env={**quiet, "HOME": str(tmp_path)},
        check=True,
        timeout=60,
    )
    assert not [str(path) for path in tmp_path.rglob("*")]
