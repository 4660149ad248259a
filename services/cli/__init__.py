"""The command line: a table of commands, each loaded only when it is called, so that `--help` is quick.

Promises exit codes 0, 1, 2 and 130, and that an error is one reason and one hint. Next: options.py, errors.py.
"""

from __future__ import annotations

import importlib
import os
import sys

import click

from tidegate.services.cli import errors
from tidegate.services.cli.groups import CommandGroup

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy reads it when it is imported; a worker shares its cores

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("run:demo", "Start a hub and sites, ask a pack's questions over NATS and HTTP, report."),
    "up": ("run:up", "Start a hub and sites and keep them up until Ctrl-C."),
    "status": ("status:status", "What is up: sites, links, ports, health, lag, versions, and what each site holds."),
    "worker": ("run:worker", "Run one stage of a site (or all of them) in this process."),
    "ask": ("ask:ask", "Ask a running site one question."),
    "bench": ("bench:bench", "Ask a running site at a steady rate, and say how long its answers took."),
    "trace": ("evidence:trace", "Every fact of one request, in order, with times."),
    "gaps": ("gaps:gaps", "What a site was asked and could not answer, for the authors of its documents."),
    "dead": ("evidence:dead", "List, show and replay dead letters."),
    "audit": ("audit:audit", "Read, check and hand out the audit log of a site or of the hub."),
    "replay": ("replay:replay_command", "Decide answers again by what was recorded of them."),
    "server": ("server:server", "Run a nats-server under systemd or in a container, and keep it up by its health."),
    "bisect": ("bisect:bisect_command", "Name the artefact whose change altered an answer."),
    "sim": ("sim:sim", "Run the whole pipeline under faults on simulated time, or ask how much load a site carries."),
    "topology": ("topology:topology", "Compare streams and consumers with what is declared, or declare them."),
    "pack": ("pack:pack", "Make a pack of a folder of documents, check one, or calibrate one."),
    "policy": ("policy:policy", "Check policies, test them, ask them, or say what past answers they would change."),
    "index": ("index:index", "Add, delete and count a site's documents."),
    "publish": ("publish:publish", "Publish a pack, documents, policies, prompts and weights at the hub."),
    "evidence-only": (
        "evidence_only:evidence_only",
        "Have sites quote documents and write nothing, by one signed switch for each scope.",
    ),
    "sync": ("sync:sync", "What sites hold and how old it is; compare, repair, decide conflicts."),
    "privacy": ("privacy:privacy", "What a site holds of a person: export it, erase it; the keys of the vault."),
    "keys": (
        "keys:keys",
        "Issue keys to use a site with; make, exchange and revoke those that a hub and its sites sign with.",
    ),
    "site": ("site:site", "Provision a site, attest it, revoke it, or find out what is wrong with it."),
    "config": ("config:config", "Check the settings, explain where each comes from, or list them all."),
}
"""Where each command is, as `module:name` of this package, and what `--help` says of it."""


class LazyGroup(CommandGroup):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        return command

    def describe_commands(self, ctx: click.Context) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(name, text) for name, (_, text) in COMMANDS.items()]


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="tidegate", help="Show the version and exit.")
@click.help_option("-h", "--help", help="Show this text and exit.")
def cli() -> None:
    """AI that answers at the edge and asks the cloud only for what the edge cannot vouch for.

    Exit codes: 0 it worked, 1 it failed, 2 it was called wrongly, 130 it was interrupted. An error is one `error:` and
    one `hint:` on stderr; with --json it is one line of JSON on stdout: {"error": {"code", "reason", "hint"}}.
    """


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit; no error leaves as a traceback."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        result = cli.main(arguments, prog_name="tidegate", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BaseException as error:  # noqa: BLE001 - the outermost layer: whatever it is, it is printed
        sys.exit(errors.report(error, arguments))
    sys.exit(result if isinstance(result, int) else 0)
