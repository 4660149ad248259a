"""Draws the pipeline from its table, for documents that show it. Next: __main__.py, which writes it into them."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.schemas import Asked, Message
from tidegate.schemas.subjects import token_of
from tidegate.services.pipeline import FAST_LANE, STAGES, WORKERS

BEGIN, END = "<!-- stages -->", "<!-- /stages -->"


def draw_pipeline() -> str:
    """The pipeline as a Mermaid flowchart: a node per stage, an arrow per fact that one leaves and another reads."""
    lines = ["```mermaid", "flowchart TD", "    gateway([gateway])"]
    for domain in ("site", "hub"):
        lines.append(f"    subgraph {domain}")
        lines += [f"        {stage.name}" for stage in WORKERS.values() if stage.side == domain]
        lines.append("    end")
    lines += [f"    {arrow}" for arrow in _arrows()]
    return "\n".join([*lines, "```"])


def replace_diagram(text: str) -> str:
    """The text with the diagram between its two markers, whatever was there. Raises `ValueError` without them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the text has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{draw_pipeline()}\n{END}{after}"


def _arrows() -> Iterator[str]:
    """From each fact's writer to its readers; the fast lane is dotted, for it only overtakes the durable one."""
    yield from (_arrow("gateway", Asked, stage.name) for stage in STAGES if Asked in stage.accepts)
    for stage in STAGES:
        for kind in stage.emits:
            readers = [reader.name for reader in STAGES if kind in reader.accepts] or ["gateway"]
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
    return f"{writer} {'-.->' if dotted else '-->'}|{token_of(kind)}| {reader}"
