"""`tidegate vault`: the personal values that a site keeps. Next: services/privacy/vault.py.

Promises that a command that is refused writes nothing, and that it prints no value.
"""

from __future__ import annotations

import click

from tidegate.schemas import TidegateError
from tidegate.services.cli.acts import log_act
from tidegate.services.cli.groups import CommandGroup
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.fleet.audit_spool import act_event
from tidegate.services.fleet.paths import StatePaths


class VaultMissingError(TidegateError, LookupError):
    """The site has no vault, because no personal value was ever stored there."""

    hint = "name the site that was asked with --site; --state names another directory"


@click.group(cls=CommandGroup)
def vault() -> None:
    """Erase the personal values that a site keeps."""


@vault.command("forget")
@click.argument("asker")
@with_options("site", "tenant", "as_json")
def vault_forget(options: CommandOptions, asker: str) -> None:
    """Erase every personal value that ASKER's requests left at a site, on disk too; answers keep the tokens."""
    settings = options.settings()
    paths, tenant = StatePaths(settings), options.tenant or settings.tenants[0]
    if not (paths.vault.is_file() and paths.key.is_file()):
        raise VaultMissingError(f"{settings.site} has no vault below {settings.state_dir}")
    from tidegate.services.privacy.vault import Vault, asker_digest, load_site_key

    key = load_site_key(paths.key)
    opened = Vault.open(paths.vault, key)
    try:
        erased = opened.forget(tenant, asker_digest(key, tenant, asker, ""))
    finally:
        opened.close()
    log_act(options, settings.site, act_event("erased", "vault", tenant=tenant, reason=f"{erased} values of one asker"))
    print_result({"erased": erased}, f"{erased} value(s) erased", options.as_json)
