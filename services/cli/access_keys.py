"""`tidegate keys issue|issued`: keys by which applications and people use a site over HTTP, and their end.

Promises that a key is printed once, when it is made, and is nowhere else. Next: services/access/access_keys.py."""

from __future__ import annotations

import time
from pathlib import Path
from typing import get_args

import click
import msgspec

from tidegate.schemas.access import AccessKey, Asker, Role
from tidegate.services.access.access_keys import PREFIX, AccessKeys
from tidegate.services.cli.acts import log_act
from tidegate.services.cli.groups import check_choice
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.fleet.access import open_access_keys
from tidegate.services.fleet.audit_spool import act_event
from tidegate.services.fleet.nats_users import make_seed
from tidegate.services.settings import Settings

DAY_MS = 86_400_000
SEED_FILE = click.Path(dir_okay=False, path_type=Path)
ROLES: tuple[Role, ...] = get_args(Role)


@click.command("issue")
@with_options("tenant", "as_json")
@click.option("--role", default="app", show_default=True, help="What it is for: app asks, operator and auditor look.")
@click.option("--asker", default="", help="Whose it is; without, it is an application's, which names its users.")
@click.option(
    "--expires", "expires_days", default=90, show_default=True, type=click.IntRange(1, 3650), help="In so many days."
)
@click.option("--note", default="", help="What it is for, in words; `issued` shows them.")
@click.option("--nats", "seed_file", type=SEED_FILE, help="Let it ask over NATS, too, by an nkey whose seed goes here.")
def issue(
    options: CommandOptions, role: Role, asker: str, expires_days: int, note: str, seed_file: Path | None
) -> None:
    """Make an access key for a tenant, and print it; it is kept as a digest, and cannot be shown again.

    With --nats FILE the sites' servers that run on this machine take it up at once, others when they reload.
    """
    check_choice("there is no role", role, ROLES)
    if seed_file is not None and role != "app":
        raise click.UsageError(f"--nats is for keys that ask, and a key of the role {role} does not")
    try:
        msgspec.convert(asker, Asker)
        msgspec.convert(note, str)
    except msgspec.ValidationError as error:
        raise click.UsageError("an asker has at most 64 letters, digits and any of @ . _ + -") from error
    if len(note) > 80:
        raise click.UsageError("a note has at most 80 characters")
    settings = options.settings()
    tenant = options.tenant or settings.tenants[0]
    nkey = make_seed(seed_file) if seed_file is not None else ""
    keys = open_access_keys(settings)
    key, text = keys.issue(tenant, role, expires_days * DAY_MS, asker=asker, note=note, nkey=nkey)
    about, note = f"access {PREFIX}_{key.id} {role}", f"until {until(key)}"
    log_act(options, settings.site, act_event("key_made", about, tenant=tenant, reason=note))
    lines = [text, f"{describe(key)}; it is not shown again", "send it as: Authorization: Bearer " + text[:17] + "…"]
    if seed_file is not None:
        lines.append(f'over NATS: nats --nkey {seed_file} request ask \'{{"text":"…"}}\'; {take_up(settings)}')
    print_result({"key": text, **shown(key)}, "\n".join(lines), options.as_json)


@click.command("issued")
@with_options("as_json")
def issued(options: CommandOptions) -> None:
    """List the access keys of this machine: whose they are, what for, and until when."""
    keys = open_access_keys(options.settings())
    rows = [{**shown(key), "state": state_of(keys, key)} for key in keys.all()]
    lines = [f"{describe(key)}, {state_of(keys, key)}" for key in keys.all()]
    print_result(rows, "\n".join(lines) or "no access key was issued", options.as_json)


def revoke_access_key(options: CommandOptions, key_id: str, reason: str) -> None:
    """End an access key, and say so. Raises `NoSuchAccessKeyError`."""
    settings = options.settings()
    key = open_access_keys(settings).revoke(key_id)
    event = act_event("key_revoked", f"access {PREFIX}_{key.id} {key.role}", tenant=key.tenant, reason=reason)
    log_act(options, settings.site, event)
    ended = f"; {take_up(settings)}" if key.nkey else ""
    print_result(shown(key), f"{describe(key)}, revoked{ended}", options.as_json)


def take_up(settings: Settings) -> str:
    """Have the servers of this machine know the keys that ask over NATS; says which do. Raises
    `ServerNotReloadedError`."""
    from tidegate.services.fleet.applications_follower import LOOK_EVERY_S
    from tidegate.services.fleet.nats_users import take_up_applications

    sites = take_up_applications(settings)
    if sites:
        return f"known to the servers of {', '.join(sites)}"
    if settings.applications_file:
        return (
            f"a `tidegate server run` that follows {settings.applications_file} takes it up within {LOOK_EVERY_S:g} s"
        )
    return "no server runs here now"


def is_access_key(key_id: str) -> bool:
    """Whether an id is one of an access key."""
    return key_id.startswith(f"{PREFIX}_")


def shown(key: AccessKey) -> dict[str, object]:
    """A key without its digest."""
    found: dict[str, object] = msgspec.to_builtins(key)
    return {**{name: value for name, value in found.items() if name != "digest"}, "id": f"{PREFIX}_{key.id}"}


def state_of(keys: AccessKeys, key: AccessKey) -> str:
    """`revoked`, `expired` or `good`."""
    if key.revoked_at_ms:
        return "revoked"
    return "good" if keys.is_good(key) else "expired"


def until(key: AccessKey) -> str:
    """The day on which a key ends, UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(key.expires_at_ms / 1000))


def describe(key: AccessKey) -> str:
    """One line on a key."""
    whose = f"of {key.asker}" if key.asker else "of an application"
    note = f" ({key.note})" if key.note else ""
    return f"{PREFIX}_{key.id}  {key.role:<8}  {key.tenant}  {whose}{note}, until {until(key)}"
