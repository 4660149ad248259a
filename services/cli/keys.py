"""`tidegate keys`: the keys that a hub and its sites sign with, and the hub's repository, whose roles they are.

Promises that a private key never leaves its file, and that a command that fails changes no key that is in use. Keys of
the root may lie on a medium of their own (`--root-keys`). Next: sync/trust/keys.py, repository.py."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from tidegate.schemas.audit import AuditEvent
from tidegate.schemas.message import Name, replace
from tidegate.schemas.trust import SITE_ROLES, KeyRole, RotateKeys, SiteRole, TrustedKey
from tidegate.services.cli.access_keys import is_access_key, issue, issued, revoke_access_key
from tidegate.services.cli.acts import log_act
from tidegate.services.cli.asker_names import ROLE as NAMES
from tidegate.services.cli.asker_names import rotate_names
from tidegate.services.cli.certificate import certificate
from tidegate.services.cli.groups import CommandGroup, check_choice
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.fleet.audit_spool import act_event
from tidegate.services.fleet.hub_keys import KeyPlaces, NewPassphrases, passphrase_variable
from tidegate.services.fleet.machine_clock import hub_time
from tidegate.services.fleet.paths import StatePaths
from tidegate.sync.trust.keys import KeyStore
from tidegate.sync.trust.repository import Repository, RepositoryExistsError
from tidegate.sync.trust.roles import TUF_ROLES, Signers

HUB, DAY_MS = "hub", 86_400_000
ROLES: tuple[KeyRole, ...] = get_args(KeyRole)
DIRECTORY = click.Path(file_okay=False, path_type=Path)
DIRECTORIES = (
    click.option("--keys", "keys_dir", type=DIRECTORY, help="Where the keys are [default: <state>/keys]."),
    click.option(
        "--root-keys", type=DIRECTORY, help="Where private keys of the root are [default: where the others are]."
    ),
    click.option("--repository", type=DIRECTORY, help="The hub's repository [default: <state>/repository]."),
)


def with_places(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--keys`, `--root-keys` and `--repository`."""
    for option in reversed(DIRECTORIES):
        function = option(function)
    return function


def places_of(options: CommandOptions, directories: dict[str, Path | None]) -> KeyPlaces:
    """The places that a command line names. Raises `SettingsError`."""
    settings = options.settings()
    state = Path(settings.state_dir)
    keys = directories["keys_dir"] or state / "keys"
    return KeyPlaces(
        KeyStore(keys),
        KeyStore(directories["root_keys"] or keys),
        Repository(directories["repository"] or state / "repository"),
        hub_time(StatePaths(replace(settings, site=HUB)))(),
        read_passphrase,
    )


@click.group(cls=CommandGroup)
def keys() -> None:
    """Make, exchange, revoke and list the keys of a hub and its sites, and issue those by which a site is used.

    NewPassphrases are read from TIDEGATE_KEYS_PASSPHRASE and TIDEGATE_ROOT_PASSPHRASE, or asked for on a terminal.
    """


keys.add_command(issue)
keys.add_command(issued)
keys.add_command(certificate)


@keys.command("init")
@with_options("as_json")
@with_places
@click.option("--owner", default=HUB, show_default=True, help="Whose keys: the hub's, or a site's by its name.")
@click.option("--root-count", default=1, show_default=True, type=click.IntRange(1, 9), help="Keys of the root.")
@click.option("--root-threshold", default=1, show_default=True, type=click.IntRange(1, 9), help="How many must sign.")
@click.option("--encrypt", is_flag=True, help="Ask for a passphrase, where none is set in the environment.")
def keys_init(
    options: CommandOptions, owner: str, root_count: int, root_threshold: int, encrypt: bool, **directories: Any
) -> None:
    """Make the keys of a hub and its repository; or, with --owner SITE, the two keys of a site."""
    check_owner(owner)
    if root_threshold > root_count:
        raise click.UsageError(f"{root_threshold} of {root_count} keys of the root cannot sign")
    places = places_of(options, directories)
    if owner == HUB and places.repository.exists:
        raise RepositoryExistsError(f"{places.repository.directory} is a repository already")
    passphrases = ask_new_passphrases(encrypt)
    roles = ROLES if owner == HUB else SITE_ROLES
    made = [places.make_missing(role, owner, root_count if role == "root" else 1, passphrases) for role in roles]
    text = [describe_key(key, places) for held in made for key in held]
    for key in (key for held in made for key in held):
        log_key(options, places, owner, act_event("key_made", f"{key.role} {key.key_id}"))
    if owner == HUB:
        places.create_repository(root_threshold)
        root = places.repository.directory / "metadata" / "1.root.json"
        text.append(f"sites are provisioned with {root}; keep the private keys of the root offline")
    result = {"keys": [key for held in made for key in held], "repository": str(places.repository.directory)}
    print_result(result if owner == HUB else {"keys": result["keys"]}, "\n".join(text), options.as_json)


@keys.command("rotate")
@click.argument("role", required=False)
@with_options("as_json")
@with_places
@click.option("--owner", default=HUB, show_default=True, help="Whose key: the hub's, or a site's by its name.")
@click.option("--site", "at_site", help="At this site: exchange its own keys with the hub, while both run.")
@click.option("--overlap-days", default=7, show_default=True, type=click.IntRange(0, 365), help="Until old ones end.")
@click.option("--encrypt", is_flag=True, help="Ask for a passphrase, where none is set in the environment.")
def keys_rotate(options: CommandOptions, role: KeyRole | None, at_site: str | None, **given: Any) -> None:
    """Give ROLE (root, targets, snapshot, timestamp, device, author) a new key; the ones before stay good for a while.

    Those of the repository until they are revoked, device and author keys for --overlap-days. With --site both keys of
    the site, or its ROLE: their private halves never leave its machine, and its sync worker signs with them at once.
    ROLE `askers` with --site is the key by which a site names askers in what it stores; those before it still find it.
    """
    if role == NAMES:
        rotate_names(options, at_site)
        return
    if at_site is not None:
        rotate_at_site(options, at_site, role, given)
        return
    if role is None:
        raise click.UsageError(f"name the role: one of {', '.join(ROLES)}")
    check_choice("there is no role", role, ROLES)
    check_owner(given["owner"])
    rotate_here(options, role, **given)


def rotate_here(
    options: CommandOptions, role: KeyRole, owner: str, overlap_days: int, encrypt: bool, **directories: Any
) -> None:
    """What `keys rotate` does where the register and the repository are. Raises what signing and storing raise."""
    places = places_of(options, directories)
    before = places.store.good(role, owner, places.now_ms)
    signers: Signers = {}
    if role in TUF_ROLES:
        places.repository.state()  # or there would be a key for nothing
        signers = places.signers()
    key = places.generate(role, owner, ask_new_passphrases(encrypt))
    if role in TUF_ROLES:
        try:
            signed = {**signers, key.key_id: places.store_of(role).signer(key.key_id, places.now_ms, read_passphrase)}
            places.repository.rotate(role, key, signed, places.now_ms)
        except BaseException:
            for store in (places.store, places.store_of(role)):
                store.revoke(key.key_id, places.now_ms, "it was never put to use")
            raise
        fate = "stay good until you `tidegate keys revoke` them"
    else:
        for old in before:
            places.store.expire(old.key_id, places.now_ms + overlap_days * DAY_MS)
        places.publish_register()
        fate = f"end in {overlap_days} days"
    log_key(options, places, owner, act_event("key_rotated", f"{role} {key.key_id}", reason=f"{len(before)} {fate}"))
    text = [describe_key(key, places), f"{len(before)} key(s) before it {fate}"]
    print_result({"key": key, "before": [old.key_id for old in before]}, "\n".join(text), options.as_json)


def rotate_at_site(options: CommandOptions, site: str, role: KeyRole | None, given: dict[str, Any]) -> None:
    """What `keys rotate --site` does. Raises `UnreachableError`, `FleetNotRunningError`, `HubRefusedError`."""
    from tidegate.services.fleet.rotation import ask_to_rotate

    check_owner(site)
    if role is not None:
        check_choice("a site has no role", role, SITE_ROLES)
    roles: tuple[SiteRole, ...] = SITE_ROLES if role is None else (role,)  # type: ignore[assignment]
    asked = RotateKeys(roles=roles, overlap_s=given["overlap_days"] * DAY_MS // 1000)
    rotated = asyncio.run(ask_to_rotate(replace(options.settings(), site=site), asked))
    lines = [f"{key.key_id}  {key.role:<9}  {key.owner:<10}  good from now on" for key in rotated.keys]
    lines.append(f"{len(rotated.before)} key(s) before them end in {given['overlap_days']} days")
    print_result(rotated, "\n".join(lines), options.as_json)


@keys.command("revoke")
@click.argument("key_id")
@with_options("as_json")
@with_places
@click.option("--reason", default="", help="Why; it is shown wherever the key is refused.")
def keys_revoke(options: CommandOptions, key_id: str, reason: str, **directories: Any) -> None:
    """Let the key whose id begins with KEY_ID sign nothing, or let nobody in, any more. This cannot be undone."""
    if is_access_key(key_id):
        revoke_access_key(options, key_id, reason)
        return
    places = places_of(options, directories)
    key = places.store.find(key_id)
    if key.role in TUF_ROLES and not key.revoked_at_ms:
        places.repository.revoke(key.key_id, places.signers(), places.now_ms)
    if is_here(key, places):
        places.store_of(key.role).revoke(key.key_id, places.now_ms, reason)
    revoked = places.store.revoke(key.key_id, places.now_ms, reason)
    if key.role not in TUF_ROLES:
        places.publish_register()
    log_key(options, places, key.owner, act_event("key_revoked", f"{key.role} {key.key_id}", reason=reason))
    print_result(revoked, describe_key(revoked, places), options.as_json)


@keys.command("renew")
@with_options("as_json")
@with_places
@click.option(
    "--above", default=0, type=click.IntRange(0), help="The version that sites know, after a restored backup."
)
def keys_renew(options: CommandOptions, above: int, **directories: Any) -> None:
    """Sign the hub's repository anew: its timestamp, and whatever will expire; a hub that runs does so by itself.

    With --above, after the hub was restored from a backup: all that is published gets later versions and epochs than
    any site has seen, or sites would take it for a replay. `tidegate site doctor` shows the version that a site knows.
    """
    places = places_of(options, directories)
    if above:
        places.repository.supersede(above, places.signers(), places.now_ms)
    else:
        places.repository.renew(places.signers(), places.now_ms)
    state = places.repository.state()
    versions = {each.type: each.version for each in (state.root, state.timestamp, state.snapshot, state.targets)}
    print_result(versions, "\n".join(f"{role} {version}" for role, version in versions.items()), options.as_json)


@keys.command("list")
@with_options("as_json")
@with_places
def keys_list(options: CommandOptions, **directories: Any) -> None:
    """List all keys: whose they are, what they sign, and whether they are good."""
    places = places_of(options, directories)
    known = places.store.register().keys
    rows = [
        {**msgspec.to_builtins(key), "state": state_of(key, places), "is_here": is_here(key, places)} for key in known
    ]
    print_result(rows, "\n".join(describe_key(key, places) for key in known), options.as_json)


def log_key(options: CommandOptions, places: KeyPlaces, owner: str, event: AuditEvent) -> None:
    """Have the act logged: at the hub where its repository is here, else at the site whose key it is."""
    log_act(options, HUB if places.repository.exists else owner, event)


def check_owner(owner: str) -> None:
    """Raises a usage error for what is no name of a site."""
    try:
        msgspec.convert(owner, Name)
    except msgspec.ValidationError as error:
        raise click.UsageError(f"{owner!r} is no name of a site: lower-case letters, digits, - and _") from error


def read_passphrase(key: TrustedKey) -> bytes | None:
    """The passphrase of a key that is encrypted: from the environment, or asked for on a terminal."""
    if known := os.environ.get(passphrase_variable(key.role)):
        return known.encode()
    if not sys.stdin.isatty():
        return None
    asked: str = click.prompt(f"passphrase of the {key.role} key {key.key_id[:16]}", hide_input=True, err=True)
    return asked.encode()


def ask_new_passphrases(encrypt: bool) -> NewPassphrases:
    """The passphrases of new keys, each asked for once: one for the root, one for all others; None: not encrypted."""
    known: dict[str, bytes | None] = {}

    def passphrase(role: KeyRole) -> bytes | None:
        variable = passphrase_variable(role)
        if variable not in known:
            given = os.environ.get(variable)
            if not given and encrypt:
                whose = "the root" if role == "root" else "all other keys"
                given = click.prompt(f"new passphrase of {whose}", hide_input=True, confirmation_prompt=True, err=True)
            known[variable] = given.encode() if given else None
        return known[variable]

    return passphrase


def state_of(key: TrustedKey, places: KeyPlaces) -> str:
    """`revoked`, `expired` or `good`."""
    if key.revoked_at_ms:
        return "revoked"
    return "expired" if key.expires_at_ms and places.now_ms >= key.expires_at_ms else "good"


def is_here(key: TrustedKey, places: KeyPlaces) -> bool:
    """Whether the private half of the key is in its directory."""
    return places.store_of(key.role).has_private(key.key_id)


def describe_key(key: TrustedKey, places: KeyPlaces) -> str:
    """One line on a key."""
    where = "private key here" if is_here(key, places) else "public key only"
    reason = f" ({key.reason})" if key.reason else ""
    return f"{key.key_id}  {key.role:<9}  {key.owner:<10}  {state_of(key, places)}{reason}, {where}"
