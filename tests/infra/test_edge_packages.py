"""What an edge installs carries no package that is too much for it."""

from __future__ import annotations

import importlib.metadata
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

TOO_MUCH_FOR_AN_EDGE = {"torch", "vllm"}


def closure(*extras: str) -> set[str]:
    """Every distribution that `tidegate[extras]` brings, from what the installed ones say that they require."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]
    waiting = [(Requirement(line), "") for line in lines]
    found: dict[str, set[str]] = {}
    while waiting:
        requirement, asked_as = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": asked_as}):
            continue
        name = canonicalize_name(requirement.name)
        wanted = {"", *requirement.extras} - found.get(name, set())
        if not wanted:
            continue
        found.setdefault(name, set()).update(wanted)
        for line in requires_of(name):
            waiting += [(Requirement(line), extra) for extra in wanted]
    return set(found)


def requires_of(name: str) -> list[str]:
    """What a distribution requires; nothing where it is not installed here, as vllm is not."""
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def test_an_edge_carries_neither_torch_nor_vllm() -> None:
    carried = closure("edge", "gateway")

    assert not carried & TOO_MUCH_FOR_AN_EDGE
    assert {"onnxruntime", "tantivy", "uvicorn", "h11"} <= carried, "the walk goes below the first level"
    for name in carried:
        importlib.metadata.version(name)  # the walk is whole: every one of them is installed here


def test_the_walk_finds_what_it_looks_for_where_it_is() -> None:
    assert "vllm" in closure("cloud")
