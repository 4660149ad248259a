"""The one way from a command to a terminal: whatever is printed passes through here.

Promises that no character acts which somebody wrote into a question, an answer, a document or a name. Next:
schemas/readable.py."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any

import click
import structlog
from rich.console import Console

from tidegate.schemas.readable import readable, readable_json


def echo(message: str | bytes, *, err: bool = False, nl: bool = True) -> None:
    """Print a text, or bytes of JSON."""
    click.echo(readable(message) if isinstance(message, str) else readable_json(message), err=err, nl=nl)


def flush() -> None:
    """Have everything printed so far written, before a process ends without Python's own end."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


class ReadableConsole(Console):
    """A console that prints texts as they may be read; tables are made of such cells, see `tables.make_table`."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As `Console.print`."""
        super().print(*(readable(each) if isinstance(each, str) else each for each in objects), **options)


def log_readably(output: Any) -> None:
    """Have `structlog.get_logger()` of this process print lines for people to this stream."""
    *_, last = structlog.get_config()["processors"]
    before = structlog.get_config()["processors"][:-1]
    if isinstance(last, structlog.dev.ConsoleRenderer):
        last = structlog.dev.ConsoleRenderer(colors=output.isatty(), exception_formatter=structlog.dev.plain_traceback)
    processors = [*before, structlog.processors.format_exc_info, make_readable, last]
    structlog.configure(processors=processors, logger_factory=structlog.PrintLoggerFactory(output))


def make_readable(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of log lines."""
    return {key: readable(value) if isinstance(value, str) else value for key, value in line.items()}
