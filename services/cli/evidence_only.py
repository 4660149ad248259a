"""`tidegate evidence-only`: have sites give passages of documents, word for word, and nothing else, for a while.

Promises that the switch is signed and in the stores when the command returns; online sites have it within seconds.
Next: schemas/switch.py, the scopes; services/stages/publisher/switched.py, what it does to an answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from tidegate.schemas import TidegateError
from tidegate.schemas.switch import Switch, SwitchStatus
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.cli.progress import show_progress
from tidegate.services.cli.publish import WAITING, Waiting, find_hub, with_all
from tidegate.services.cli.run import run_until_stopped
from tidegate.services.cli.sync_tables import open_console
from tidegate.services.cli.tables import make_table
from tidegate.services.cli.terminal import echo
from tidegate.services.fleet.arrival import expect_state, wait_for_sites
from tidegate.services.fleet.artefacts import PartPublisher
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.replicas import open_replica_client
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.packs.parts import load_parts
from tidegate.services.settings import Settings
from tidegate.sync.trust.site_records import SiteRecords

WORKLOADS = frozenset({"classify", "extract"})
"""The classes beside the intents of a pack."""
SCOPE = (
    click.option("--site", "site_name", default="", help="The one site that it is for [default: all of the tenant]."),
    click.option("--class", "class_name", default="", help="The one class of questions, an intent [default: all]."),
    click.option("--why", required=True, help="Why, for whoever reads a receipt; at most 300 characters."),
)


class SwitchScopeError(TidegateError, ValueError):
    """The switch would have no scope: there is no such site or class, or the reason is missing."""

    hint = "name a site as it was provisioned, and an intent of the pack in force, or leave them out"


@click.group("evidence-only")
def evidence_only() -> None:
    """Have sites quote documents word for word, and publish nothing that a model wrote, until it is put off again.

    Each scope (a tenant, a site, a class of questions) has its own switch, and an answer is held to all of them.
    """


@evidence_only.command("on")
@with_options("tenant", "as_json")
@with_all(*SCOPE, *WAITING)
def put_on(options: CommandOptions, **given: Any) -> int:
    """Put the switch of this scope on, at the hub."""
    return publish_switch(options, given, is_on=True)


@evidence_only.command("off")
@with_options("tenant", "as_json")
@with_all(*SCOPE, *WAITING)
def put_off(options: CommandOptions, **given: Any) -> int:
    """Put the switch of this scope off, at the hub.

    Just of this scope; also where an incident at the site has put it on."""
    return publish_switch(options, given, is_on=False)


@evidence_only.command("list")
@with_options("site", "as_json")
def list_switches(options: CommandOptions) -> int:
    """List what is on, and what was.

    Without --site, what the hub has ever put on or off; with it, what is on at that site."""
    settings = options.settings() if options.site else find_hub(options)[0]

    async def go() -> int:
        async with open_replica_client(settings) as client:
            print_switches((await client.status()).switches, as_json=options.as_json)
        return 0

    return run_until_stopped(go())


def print_switches(switches: Sequence[SwitchStatus], *, as_json: bool) -> None:
    """All of them, as a table or as JSON."""
    rows = [
        (each.switch.scope, "on" if each.switch.is_on else "off", str(each.epoch), each.raised_by, each.switch.why)
        for each in switches
    ]
    if as_json:
        echo(msgspec.json.encode({"switches": switches}))
    else:
        open_console().print(make_table("evidence-only", ("for", "is", "epoch", "by", "why"), rows, left=2))


def publish_switch(options: CommandOptions, given: dict[str, Any], *, is_on: bool) -> int:
    """Sign and publish a switch, with the options of its command. Raises `SwitchScopeError`, `SyncWorkerMissingError`,
    `ReplicaRefusedError`."""
    hub, tenant = find_hub(options)
    waiting = Waiting(given["wait"], given["within_s"])
    switch = make_switch(hub, tenant, (given["site_name"], given["class_name"]), given["why"], is_on=is_on)

    async def go() -> int:
        took: dict[str, float] = {}
        async with open_replica_client(hub) as client:
            published = await PartPublisher(client, hub, tenant).publish_switch(switch)
            if waiting.is_wanted:
                expected = expect_state(hub, tenant, [], [published])
                with show_progress() as progress:
                    took = await wait_for_sites(hub, expected, progress, waiting.within_s)
        state = "on" if is_on else "off"
        lines = [f"evidence-only is {state} for {switch.scope}: epoch {published.epoch}"]
        lines += [f"{site} has it after {seconds:g} s" for site, seconds in took.items()]
        result = {"switch": msgspec.to_builtins(switch), "artefact": msgspec.to_builtins(published), "sites": took}
        print_result(result, "\n".join(lines), options.as_json)
        return 0

    return run_until_stopped(go())


def make_switch(hub: Settings, tenant: str, scope: tuple[str, str], why: str, *, is_on: bool) -> Switch:
    """The switch of a scope (site, class) that exists, as far as that is known here. Raises `SwitchScopeError`."""
    site, class_name = scope
    wanted = {
        "tenant": tenant,
        "site": site,
        "class_name": class_name,
        "is_on": is_on,
        "why": why.strip(),
        "at_ms": time.time_ns() // 1_000_000,
    }
    try:
        switch = msgspec.convert(wanted, Switch)
    except msgspec.ValidationError as error:
        raise SwitchScopeError(str(error)) from error
    known = SiteRecords(StatePaths(hub).site_records).sites()
    if site and known and site not in known:
        raise SwitchScopeError(f"the hub knows no site {site}; it knows {', '.join(known)}")
    store = GenerationStore(StatePaths(hub).active(tenant))
    record = store.usable()
    if class_name and is_on and record is not None:
        classes = {each.id for each in load_parts(store.path(record.number)).intents} | WORKLOADS
        if class_name not in classes:
            raise SwitchScopeError(f"the pack in force has no class {class_name}; it has {', '.join(sorted(classes))}")
    return switch
