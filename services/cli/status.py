"""`tidegate status`: what is up, for people and for scripts. Next: services/fleet/status.py, which finds it out."""

from __future__ import annotations

import asyncio

import click
import msgspec
from rich.console import Console

from tidegate.brokers.topology.fill import OF_REQUESTS
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.options import CommandOptions, with_options
from tidegate.services.cli.sync_tables import open_console, print_collections, print_domains, print_switches
from tidegate.services.cli.tables import make_table
from tidegate.services.cli.terminal import echo
from tidegate.services.fleet.planner_status import DraftStatus, ForecastStatus
from tidegate.services.fleet.replica_status import summarise
from tidegate.services.fleet.status import DomainStatus, FleetStatus, GatewayStatus, gather_status


@click.command()
@with_options("as_json")
def status(options: CommandOptions) -> int:
    """Show what is up: sites, links, ports, health, lag, versions, and what each site holds and may do with it.

    The exit code is 1 when something is down.
    """
    found = asyncio.run(gather_status(options.settings()))
    if options.as_json:
        echo(msgspec.json.encode({"is_healthy": found.is_healthy, **msgspec.to_builtins(found)}))
    else:
        print_status(found)
    return 0 if found.is_healthy else 1


def print_status(found: FleetStatus) -> None:
    """Tables of domains, replicas, processes and lag, then what is wrong."""
    console = open_console()
    policies = ", ".join(f"{name}@{version}" for name, version in found.policies.items())
    console.print(f"tidegate {found.version} below {found.state_dir}, pack {found.pack}, policies {policies}")
    columns = ("", "NATS", "version", "pid", "HTTP", "link", "index", "embedder")
    console.print(make_table("domains", columns, map(_domain_row, found.domains), left=len(columns)))
    replicas = {each.name: summarise(each.replica) for each in found.domains}
    print_domains(console, replicas)
    print_switches(console, replicas)
    print_collections(console, replicas)
    print_audit_logs(console, found)
    processes = [
        (each.name, process.name, str(process.pid), "gone" if process.is_stale else "up", process.metrics_url or "-")
        for each in found.domains
        for process in each.processes
    ]
    console.print(make_table("processes", ("", "process", "pid", "state", "metrics"), processes, left=5))
    lag = [
        (each.name, row.stage, row.stream, str(row.waiting), str(row.in_hand), str(row.redelivered))
        for each in found.domains
        for row in each.lag
    ]
    console.print(make_table("messages", ("", "stage", "stream", "waiting", "in hand", "redelivered"), lag, left=3))
    print_streams(console, found)
    print_planners(console, found)
    for problem in found.problems:
        console.print(f"problem: {problem}")
    console.print("everything is healthy" if found.is_healthy else f"{len(found.problems)} problems")


def print_audit_logs(console: Console, found: FleetStatus) -> None:
    """How long the audit logs are, and how much of each somebody else can vouch for; nothing where none is kept."""
    rows = [
        (each.name, *map(str, (log.size, log.signed, log.witnessed if each.name != HUB else "-", len(log.heads))))
        for each in found.domains
        if (log := each.audit) is not None
    ]
    if rows:
        columns = ("", "entries", "signed", "witnessed", "heads of others")
        console.print(make_table("audit logs", columns, rows, left=1))


def print_streams(console: Console, found: FleetStatus) -> None:
    """How full the streams are that a request needs, and those that fill up."""
    rows = [
        (each.name, row.stream, f"{row.share:.1%}", str(row.messages), f"{row.max_bytes >> 20} MiB")
        for each in found.domains
        for row in each.streams
        if row.stream in OF_REQUESTS or row.is_near
    ]
    if rows:
        console.print(make_table("streams", ("", "stream", "full", "messages", "limit"), rows, left=2))


def print_planners(console: Console, found: FleetStatus) -> None:
    """What drafts cost and save, and how many forecasts were good; nothing where nothing was learned yet."""
    known = [(each.name, each.planner) for each in found.domains if each.planner is not None]
    drafts = [_draft_row(name, line) for name, planner in known for line in planner.drafts]
    forecasts = [_forecast_row(name, line) for name, planner in known for line in planner.forecasts]
    of_class = ("", "tenant", "model", "writing", "class")
    counts = ("answers", "shipped", "drafted", "accepted", "wasted", "steps saved", "bytes/accepted", "verdict")
    if drafts:
        console.print(make_table("drafts", (*of_class, *counts), drafts, left=5))
    if forecasts:
        columns = (*of_class, "by", "forecasts", "within twice")
        console.print(make_table("forecasts", columns, forecasts, left=6))


def _draft_row(domain: str, line: DraftStatus) -> tuple[str, ...]:
    counts = (line.answers, line.shipped, line.drafted, line.accepted, line.wasted, line.steps_saved)
    sent = "-" if line.bytes_per_accepted is None else f"{line.bytes_per_accepted:.1f}"
    return (domain, line.tenant, line.model, line.writing, line.class_name, *map(str, counts), sent, line.verdict)


def _forecast_row(domain: str, line: ForecastStatus) -> tuple[str, ...]:
    share = f"{line.within_two / line.judged:.0%}" if line.judged else "-"
    of_class = (line.tenant, line.model or "-", line.writing, line.class_name)
    return (domain, *of_class, line.where, str(line.judged), share)


def _domain_row(domain: DomainStatus) -> tuple[str, ...]:
    server, gateway, link = domain.server, domain.gateway, domain.link
    return (
        domain.name,
        server.url.removeprefix("nats://") if server.is_up else f"{server.url.removeprefix('nats://')} down",
        server.version or "-",
        str(server.pid or "-"),
        "-" if gateway is None else f"{gateway.url} {_health(gateway)}".rstrip(),
        "-" if link is None else f"{link.rtt_ms:.1f} ms" if link.is_up else "down",
        ", ".join(f"{tenant} {version}" for tenant, version in domain.indexes.items()) or "-",
        domain.embedder or "-",
    )


def _health(gateway: GatewayStatus) -> str:
    if gateway.is_ready:
        return ""
    return "not ready" if gateway.is_up else "down"
