"""Draws the pipeline from its table, for the README: `python -m tidegate.services.cli.diagram [--write FILE]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tidegate.schemas import Asked, Message
from tidegate.schemas.subjects import word
from tidegate.services.pipeline import FAST_LANE, STAGES

BEGIN, END = "<!-- stages -->", "<!-- /stages -->"
DOOR = "the door"


def picture() -> str:
    """The pipeline as a Mermaid flowchart: a node per stage, an arrow per fact that one leaves and another reads."""
    lines = ["```mermaid", "flowchart TD", f"    door([{DOOR}])"]
    for place in ("site", "hub"):
        lines.append(f"    subgraph {place}")
        lines += [f"        {stage.name}" for stage in STAGES if stage.where == place]
        lines += [f"        {FAST_LANE.name}"] if FAST_LANE.where == place else []
        lines.append("    end")
    lines += [f"    {arrow}" for arrow in _arrows()]
    return "\n".join([*lines, "```"])


def pictured(text: str) -> str:
    """The text with the picture between its two markers, whatever was there. Raises `ValueError` without them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the text has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{picture()}\n{END}{after}"


def _arrows() -> Iterator[str]:
    """From each fact's writer to its readers; the fast lane is dotted, for it only overtakes the durable one."""
    yield from (_arrow("door", Asked, stage.name) for stage in STAGES if Asked in stage.accepts)
    for stage in STAGES:
        for kind in stage.emits:
            readers = [reader.name for reader in STAGES if kind in reader.accepts] or ["door"]
            yield from (_arrow(stage.name, kind, reader) for reader in readers)
    for stage in STAGES:
        yield from (
            _arrow(stage.name, kind, FAST_LANE.name, dotted=True) for kind in stage.emits if kind in FAST_LANE.accepts
        )
    for stage in STAGES:
        yield from (
            _arrow(FAST_LANE.name, kind, stage.name, dotted=True) for kind in FAST_LANE.emits if kind in stage.accepts
        )


def _arrow(writer: str, kind: type[Message], reader: str, *, dotted: bool = False) -> str:
    return f"{writer} {'-.->' if dotted else '-->'}|{word(kind)}| {reader}"


def main(argv: list[str]) -> None:
    """Print the picture, or write it into a file."""
    match argv:
        case []:
            print(picture())
        case ["--write", path]:
            Path(path).write_text(pictured(Path(path).read_text(encoding="utf-8")), encoding="utf-8")
        case _:
            sys.exit("usage: python -m tidegate.services.cli.diagram [--write FILE]")


if __name__ == "__main__":
    main(sys.argv[1:])
