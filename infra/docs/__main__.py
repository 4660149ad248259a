"""Writes what is generated in docs/ and README.md, or says what of it is stale.

`--check` writes nothing, names each stale file and fails. Next: asyncapi.py, diagram.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tidegate.infra.docs.asyncapi import asyncapi_document, schema_bundle
from tidegate.infra.docs.diagram import replace_diagram
from tidegate.services.cli.config import PAGE, reference_markdown
from tidegate.services.gateway.http.openapi import openapi_document

WRITE, CHECK = "python -m tidegate.infra.docs", "--check"
DRAWN = ("README.md", "docs/architecture.md")
"""Pages that hold the diagram between other text."""


def generated(root: Path) -> Iterator[tuple[Path, str]]:
    """Each generated file below `root`, and what it has to hold."""
    yield root / "docs/asyncapi.json", pretty(asyncapi_document())
    yield root / "docs/openapi.json", pretty(openapi_document())
    yield root / "docs/schemas.json", pretty(schema_bundle())
    yield root / PAGE, reference_markdown()
    for name in DRAWN:
        yield root / name, replace_diagram((root / name).read_text(encoding="utf-8"))


def pretty(document: object) -> str:
    """JSON as it is kept: indented, in the order that the document has, with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(_plain(document)), indent=2).decode() + "\n"


def _plain(value: object) -> object:
    """`value` with 1 for 1.0: `typing` keeps the first of two annotations that are equal, `Meta(ge=0)` or
    `Meta(ge=0.0)`, so that which one it is rests on what was imported before."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def stale_files(root: Path) -> dict[Path, str]:
    """The generated files that do not hold what they should, with what that is."""
    return {
        path: text for path, text in generated(root) if not path.exists() or path.read_text(encoding="utf-8") != text
    }


def main(argv: list[str]) -> int:
    """Write every stale file below the working directory; with `--check` name it instead, and return 1 for any."""
    if argv not in ([], [CHECK]):
        sys.exit(f"usage: {WRITE} [{CHECK}]")
    stale = stale_files(Path())
    for path, text in stale.items():
        if argv:
            print(f"{path} is stale: run `{WRITE}`", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
            print(path)
    return 1 if argv and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
