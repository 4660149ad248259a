"""`tidegate config`: what is wrong with the settings, and where each value comes from.

Next: brokers/process/config.py.
"""

from __future__ import annotations

import click
import msgspec

from tidegate.brokers.process.config import SettingsError, explain
from tidegate.services.cli.config_reference import config_reference
from tidegate.services.cli.groups import CommandGroup
from tidegate.services.cli.options import CommandOptions, with_options


@click.group(cls=CommandGroup)
def config() -> None:
    """Check the settings, explain where each comes from, or list them all."""


config.add_command(config_reference)


@config.command("check")
@with_options("as_json")
def config_check(options: CommandOptions) -> int:
    """Read the settings as a worker would, and name every fault."""
    try:
        options.load()
    except SettingsError as error:
        if not options.as_json:
            raise
        rows = [msgspec.to_builtins(fault) for fault in error.faults]
        click.echo(msgspec.json.encode({"ok": False, "faults": rows}))
        return 1
    click.echo(msgspec.json.encode({"ok": True, "faults": []}) if options.as_json else "the settings are good")
    return 0


@config.command("explain")
@with_options("as_json")
def config_explain(options: CommandOptions) -> None:
    """Print each setting, its value, and where it comes from."""
    rows = list(explain(options.load()))
    if options.as_json:
        click.echo(msgspec.json.encode(rows))
        return
    width = max(len(row.key) for row in rows)
    for row in rows:
        click.echo(f"{row.key:<{width}}  {row.value}  ({row.origin})")
