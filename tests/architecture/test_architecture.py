"""What every file keeps to: the layers, the one table of stages, names, and sizes."""

from __future__ import annotations

import ast
import asyncio
import functools
import gc
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import tidegate
from tests.support.paths import ROOT
from tidegate.brokers.stage import Stage
from tidegate.schemas import PIPELINE, Asked, Message, Published, TidegateError
from tidegate.services.pipeline import FAST_LANE, HUB_WORKERS, SITE_WORKERS, STAGES, WORKERS

PRODUCT = ("schemas", "brokers", "sync", "services")
TOP = {
    ".ci", ".dockerignore", ".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "brokers", "docs",
    "infra", "loadtests", "pyproject.toml", "schemas", "services", "sync", "tests",
}  # fmt: skip
ENGINES = ("onnxruntime", "tantivy", "hnswlib", "vllm", "cel_expr_python")
LATE = ("jinja2", "py3langid", "snowballstemmer")
"""Libraries of megabytes that many processes never use."""
VAGUE = {"utils", "util", "common", "helpers", "helper", "manager", "misc", "shared"}
UNIMPORTABLE = ("tidegate.infra.", "tidegate.services.llm.targets.vllm.")  # torch or vllm may not be installed
MAX_FILE, MAX_FUNCTION, MAX_PARAMETERS = 300, 40, 6
PRIVATE_DIALECT = {"said", "told", "place"}
"""Words that once meant many things each; docs/glossary.md has the terms that took their places."""
FEW = {"language", "kind", "region", "country", "code", "form"}
"""Names of parameters that no text of a request or a document is given as."""

every_worker = pytest.mark.parametrize("stage", WORKERS.values(), ids=lambda stage: stage.name)


@functools.cache
def trees(*floors: str) -> dict[Path, ast.Module]:
    if len(floors) > 1:
        return {path: tree for floor in floors for path, tree in trees(floor).items()}
    paths = sorted(path for floor in floors for path in (ROOT / floor).rglob("*.py"))
    gc.disable()  # a collection in mid-parse may itself parse, which Python 3.11 takes for a fault (gh-106905)
    try:
        return {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    finally:
        gc.enable()


@functools.cache
def nodes(tree: ast.Module) -> tuple[ast.AST, ...]:
    """All of a file's nodes, which many tests look at."""
    return tuple(ast.walk(tree))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in nodes(tree):
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
        for node in nodes(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno + 1 > MAX_FUNCTION
    }


def functions(*floors: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function of the floors, with where it is."""
    for path, tree in trees(*floors).items():
        for node in nodes(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{path}:{node.lineno} {node.name}", node


def parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    arguments = function.args
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [each.arg for each in given if each.arg not in ("self", "cls")]


def test_no_function_takes_too_much() -> None:
    taken = {where: len(parameters_of(function)) for where, function in functions(*PRODUCT, "loadtests", "infra")}
    assert not {where: count for where, count in taken.items() if count > MAX_PARAMETERS}


def test_no_public_class_name_is_defined_twice() -> None:
    defined: dict[str, set[str]] = {}
    for path, tree in trees(*PRODUCT).items():
        for node in nodes(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                defined.setdefault(node.name, set()).add(f"{path}:{node.lineno}")
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node in tree.body:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [target.id for target in targets if isinstance(target, ast.Name)]
                for name in names:
                    if not name.startswith("_") and name[0].isupper() and not name.isupper():  # an alias of a type
                        defined.setdefault(name, set()).add(f"{path}:{node.lineno}")
    assert defined, "nothing was looked at"
    assert not {name: sorted(places) for name, places in defined.items() if len(places) > 1}


def identifiers(tree: ast.Module) -> Iterator[str]:
    """Every name that the code gives or uses: of values, attributes, parameters, functions, classes and modules."""
    for node in nodes(tree):
        for field in ("id", "attr", "arg", "name", "asname"):
            if isinstance(name := getattr(node, field, None), str):
                yield name


@pytest.mark.parametrize("library", LATE)
def test_a_large_library_that_few_use_is_imported_by_who_uses_it(library: str) -> None:
    product = trees(*PRODUCT).values()
    assert any(name.split(".")[0] == library for tree in product for name in imported(tree))
    at_once = [node for tree in product for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert library not in {name.split(".")[0] for node in at_once for name in imported(ast.Module([node], []))}


def parameters_of_caches(tree: ast.Module) -> Iterator[str]:
    """Those of functions that remember for ever what they were called with."""
    for node in nodes(tree):
        if isinstance(node, ast.FunctionDef) and {"cache", "functools.cache"} & set(
            map(ast.unparse, node.decorator_list)
        ):
            yield from (each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg))


def test_what_is_remembered_for_ever_goes_by_what_there_are_few_of() -> None:
    by_file = {str(path): [*parameters_of_caches(tree)] for path, tree in trees(*PRODUCT).items()}
    assert any("language" in names for names in by_file.values()), "the walk finds them"
    assert not {path: names for path, names in by_file.items() if set(names) - FEW}


def test_no_identifier_is_of_the_private_dialect() -> None:
    found = {
        str(path): words
        for path, tree in trees(*PRODUCT, "loadtests", "tests", "infra").items()
        if (words := PRIVATE_DIALECT & set(identifiers(tree)))
    }
    assert not found


def test_every_error_of_ours_says_what_to_do() -> None:
    for module in pkgutil.walk_packages(tidegate.__path__, "tidegate."):
        if not module.name.endswith("__main__") and not module.name.startswith(UNIMPORTABLE):
            importlib.import_module(module.name)  # so that every subclass is known
    classes = [node for tree in trees(*PRODUCT).values() for node in nodes(tree) if isinstance(node, ast.ClassDef)]
    raised = {node.name for node in classes if is_error(node) and not node.name.startswith("_")}
    ours = {kind.__name__: kind for kind in every_subclass(TidegateError)}
    assert len(ours) > 20, "the modules were not imported"
    assert not raised - set(ours) - {"TidegateError"}
    assert not {name for name in ours if not name.endswith("Error")}
    assert not {name for name, kind in ours.items() if not getattr(kind, "hint", "") or not kind.__doc__}


def is_error(node: ast.ClassDef) -> bool:
    """Whether it is a class that is raised, by the names of what it derives from."""
    return any(ast.unparse(base).endswith(("Error", "Exception")) for base in node.bases)


def every_subclass(kind: type) -> Iterator[type]:
    child: type
    for child in kind.__subclasses__():
        if child.__module__.startswith("tidegate."):
            yield child
        yield from every_subclass(child)


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
