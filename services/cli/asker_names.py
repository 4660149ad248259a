"""`tidegate keys rotate askers`: exchanges the key by which a site names askers in what it stores.

Promises that what was stored before is still found, given out and erased. Next: services/privacy/asker_names.py."""

from __future__ import annotations

import time
from contextlib import closing
from hashlib import sha256

import click
import msgspec

from tidegate.schemas import replace
from tidegate.schemas.audit import AuditedAct
from tidegate.services.cli.options import CommandOptions, print_result
from tidegate.services.cli.privacy import log, read_site

ROLE = "askers"


def rotate_names(options: CommandOptions, site: str | None) -> None:
    """Give the site another key, which its processes use with their next request; prints what the audit log has the
    digest of. Raises `VaultMissingError`, and as `open_vault` does."""
    if site is None:
        raise click.UsageError("name the site whose askers get other digests: --site NAME")
    settings, _ = read_site(replace(options, site=site))
    from tidegate.services.fleet.vault import open_vault

    with closing(open_vault(settings)) as vault:
        epoch, key_ids = vault.rotate_names()
    certificate = {"site": site, "at_ms": time.time_ns() // 1_000_000, "epoch": epoch, "key_ids": key_ids}
    digest = sha256(msgspec.json.encode(certificate, order="sorted")).hexdigest()
    reason = f"the key by which askers are named; {len(key_ids) - 1} before it find what was stored"
    log(options, settings, "key_rotated", AuditedAct(about=ROLE, reason=reason, digest=digest, epoch=epoch), "")
    print_result(certificate, f"askers of {site} are named by key {key_ids[0]}; certificate {digest}", options.as_json)
