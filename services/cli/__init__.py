"""The command line: a table of commands, each loaded only when it is called, so that `--help` is quick."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "tidegate.services.cli.run:demo",
        "Start a hub and sites, ask a pack's questions through both doors, report.",
    ),
    "up": ("tidegate.services.cli.run:up", "Start a hub and sites and keep them up until Ctrl-C."),
    "worker": ("tidegate.services.cli.run:worker", "Run one stage of a site (or all of them) in this process."),
    "ask": ("tidegate.services.cli.ask:ask", "Ask a running site one question."),
    "trace": ("tidegate.services.cli.evidence:trace", "Every fact of one request, in order, with times."),
    "dead": ("tidegate.services.cli.evidence:dead", "List, show and replay dead letters."),
    "topology": (
        "tidegate.services.cli.deploy:topology",
        "Compare streams and consumers with what is declared, or declare them.",
    ),
    "pack": ("tidegate.services.cli.deploy:pack", "Check a pack directory."),
    "index": ("tidegate.services.cli.deploy:index", "Add, delete and count a site's documents."),
    "config": ("tidegate.services.cli.deploy:config", "Check the settings, or explain where each comes from."),
}


class Lazy(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="tidegate")
def cli() -> None:
    """AI that answers at the edge and asks the cloud only for what the edge cannot vouch for.

    Exit codes: 0 it worked, 1 it failed, 2 it was called wrongly.
    """


def main(argv: list[str] | None = None) -> None:
    """Run the command line; errors that carry a hint are told to the person without a traceback."""
    try:
        result: Any = cli.main(argv, standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:  # the outermost layer: told to a person here, or raised as it is
        if not (hasattr(error, "hint") or hasattr(error, "faults") or isinstance(error, OSError)):
            raise
        click.echo(f"error: {error}", err=True)
        if hint := getattr(error, "hint", ""):
            click.echo(f"hint: {hint}", err=True)
        sys.exit(1)
    sys.exit(result if isinstance(result, int) else 0)
