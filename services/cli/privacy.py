"""`tidegate privacy`: what a site holds of a person: give it to them, erase it; and the keys of the vault.

Promises that a command that is refused writes nothing, that each leaves an entry in the audit log, and that a value is
printed by `export` alone. Next: services/fleet/erasing.py, personal_export.py; services/privacy/vault.py.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path

import click
import msgspec

from tidegate.schemas import TidegateError, replace
from tidegate.schemas.audit import ActKind, AuditedAct, AuditEvent
from tidegate.schemas.privacy import ErasureCertificate
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.acts import log_act
from tidegate.services.cli.groups import CommandGroup
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.cli.terminal import echo
from tidegate.services.fleet.audit_spool import act_event
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings
from tidegate.sync.trust.files import PRIVATE, replace_file, reserved

ASKER = click.option("--asker", required=True, help="Whose: as the credential names them.")
OUT = click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file, for you alone."
)


class VaultMissingError(TidegateError, LookupError):
    """The site has no vault, because nothing was ever asked there."""

    hint = "name the site that was asked with --site; --state names another directory"


class NoCertificateError(TidegateError, ValueError):
    """The file is no certificate of an erasure."""

    hint = "give the file that `tidegate privacy erase --out FILE` has written at the site"


@click.group(cls=CommandGroup)
def privacy() -> None:
    """What a site holds of a person, and the keys that it is kept under."""


@privacy.command("export")
@ASKER
@OUT
@with_options("site", "tenant", "as_json")
def privacy_export(options: CommandOptions, asker: str, out: Path | None) -> None:
    """Give a person all that a site holds of them: their values, what they asked, what they were answered. As JSON."""
    settings, tenant = read_site(options)
    from tidegate.services.fleet.personal_export import export_asker

    exported = asyncio.run(export_asker(settings, tenant, asker))
    count = len(exported.values) + len(exported.requests)
    reason = f"{len(exported.values)} values and {len(exported.requests)} requests of one asker"
    log(options, settings, "exported", AuditedAct(about="privacy", reason=reason), tenant)
    written = msgspec.json.format(msgspec.json.encode(exported))
    if out is None:
        echo(written)
        return
    replace_file(out, written + b"\n", PRIVATE)
    print_result({"held": count, "out": str(out)}, f"{reason}: {out}", options.as_json)


@privacy.command("erase")
@ASKER
@OUT
@click.option("--vault-only", is_flag=True, help="Where no server runs: destroy the key and the values, nothing else.")
@with_options("site", "tenant", "as_json")
def privacy_erase(options: CommandOptions, asker: str, out: Path | None, vault_only: bool) -> None:
    """Erase a person from a site: values, requests, answers, and the key, so that no copy of the vault opens any more.

    Prints a certificate, whose digest the audit log has. It names what is still at the hub, where that is elsewhere.
    """
    settings, tenant = read_site(options)
    from tidegate.services.fleet.erasing import certificate_bytes, erase_asker, erase_from_vault

    with nullcontext() if out is None else reserved(out, mode=PRIVATE) as keep:  # before the key is gone
        if vault_only:
            certificate = erase_from_vault(settings, tenant, asker)
        else:
            certificate = asyncio.run(erase_asker(settings, tenant, asker))
        written = certificate_bytes(certificate)
        messages = sum(certificate.deleted.values())
        reason = f"{certificate.values} values, {len(certificate.requests)} requests, {messages} messages of one asker"
        digest = sha256(written).hexdigest()
        act = AuditedAct(about="privacy", reason=reason, digest=digest, epoch=certificate.key_epoch)
        log(options, settings, "erased", act, tenant)
        if keep is not None:
            keep(written)
    left = "".join(f"\nmessages are left at {domain}" for domain in certificate.left)
    print_result(certificate, f"{reason} erased; certificate {act.digest}{left}", options.as_json)


@privacy.command("erase-at-hub")
@click.argument("certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_options("as_json")
def privacy_erase_at_hub(options: CommandOptions, certificate: Path) -> None:
    """At the hub: erase what it holds of the requests that a site's CERTIFICATE names."""
    try:
        read = msgspec.json.decode(certificate.read_bytes(), type=ErasureCertificate)
    except msgspec.DecodeError as error:
        raise NoCertificateError(f"{certificate}: {error}") from error
    from tidegate.services.fleet.erasing import erase_at_hub

    settings = replace(options.settings(), site=HUB)
    deleted = asyncio.run(erase_at_hub(settings, read))
    reason = f"{sum(deleted.values())} messages about {len(read.requests)} requests of one asker of {read.site}"
    act = AuditedAct(about="privacy", reason=reason, digest=sha256(certificate.read_bytes()).hexdigest())
    log(options, settings, "erased", act, read.tenant)
    print_result({"deleted": deleted}, f"{reason} erased", options.as_json)


@privacy.command("rotate")
@with_options("site", "tenant", "as_json")
def privacy_rotate(options: CommandOptions) -> None:
    """Exchange the keys under which a tenant's values are kept, while the site works; old copies of the vault are
    unreadable then."""
    settings, tenant = read_site(options)
    from tidegate.services.fleet.vault import open_vault

    opened = open_vault(settings)
    try:
        epoch = opened.rotate(tenant)
    finally:
        opened.close()
    log(options, settings, "key_rotated", AuditedAct(about="vault", reason="keys of a tenant", epoch=epoch), tenant)
    print_result({"tenant": tenant, "epoch": epoch}, f"{tenant} is at epoch {epoch}", options.as_json)


@privacy.command("accept")
@click.option("--reason", required=True, help="Why the vault is an older one; the audit log has it.")
@with_options("site", "as_json")
def privacy_accept(options: CommandOptions, reason: str) -> None:
    """Take a site's vault as it is, though it is not as it was left: after a restore from a backup."""
    settings, _ = read_site(options)
    from tidegate.services.fleet.vault import open_vault

    opened = open_vault(settings, accept=True)
    sequence = opened.sequence
    opened.close()
    log(options, settings, "vault_accepted", AuditedAct(about="vault", reason=reason[:500], epoch=sequence), "")
    print_result({"sequence": sequence}, f"the vault of {settings.site} is taken as it is", options.as_json)


def read_site(options: CommandOptions) -> tuple[Settings, str]:
    """The site and the tenant that are meant. Raises `VaultMissingError` for a site without a vault."""
    settings = options.settings()
    paths = StatePaths(settings)
    if not (paths.vault.is_file() and paths.key.is_file()):
        raise VaultMissingError(f"{settings.site} has no vault below {settings.state_dir}")
    return settings, options.tenant or settings.tenants[0]


def log(options: CommandOptions, settings: Settings, kind: ActKind, act: AuditedAct, tenant: str) -> None:
    """Have the site's audit log say what was done, and who did it."""
    event: AuditEvent = act_event(kind, act.about, tenant=tenant)
    log_act(options, settings.site, replace(event, act=replace(act, by=event.act.by)))
