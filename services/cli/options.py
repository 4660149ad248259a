"""Options that commands share, and how a command gets its settings: a file, the environment, its own options.

Promises that a site and a tenant that are named are declared, before a command does anything. Next: run.py.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import msgspec

from tidegate.brokers.process.config import Loaded, load
from tidegate.brokers.process.state_directory import check_state
from tidegate.schemas import TidegateError, replace
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.terminal import echo
from tidegate.services.fleet.endpoints import check_site, check_tenant
from tidegate.services.settings import Settings

OPTIONS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "config": click.option(
        "--config", type=click.Path(path_type=Path), help="Settings file [default: <pack>/site.toml]."
    ),
    "state_dir": click.option(
        "--state",
        "state_dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="State directory [default: TIDEGATE_STATE_DIR, or the settings' own: .tidegate].",
    ),
    "site": click.option("--site", help="The site to talk to [default: the settings' own: site1]."),
    "tenant": click.option("--tenant", help="The tenant [default: the first of the settings]."),
    "pack_dir": click.option(
        "--pack",
        "pack_dir",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Pack directory [default: the kiosk].",
    ),
    "docs": click.option(
        "--docs",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Answer from the documents in this folder, of any kind that is read; no pack is needed.",
    ),
    "as_json": click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text; errors too."),
}


class NotOfHubError(TidegateError, ValueError):
    """The command is about a site, and was given the hub."""

    hint = "name a site with --site; `tidegate status` lists them"


class CommandOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a command was given of the shared options; None where it was not given."""

    config: Path | None = None
    state_dir: Path | None = None
    site: str | None = None
    tenant: str | None = None
    pack_dir: Path | None = None
    docs: Path | None = None
    as_json: bool = False

    def load(self, **overrides: Any) -> Loaded[Settings]:
        """Settings with their origins, of the pack's own file where none was named. Raises `SettingsError`."""
        pack = self.pack_dir or Path(os.environ.get("TIDEGATE_PACK_DIR") or find_default_pack())
        config = self.config
        if config is None and (pack / "site.toml").exists():
            config = pack / "site.toml"
        state_dir = None if self.state_dir is None else str(self.state_dir)
        return load(Settings, config, os.environ, pack_dir=str(pack), state_dir=state_dir, **overrides)

    def settings(self) -> Settings:
        """Settings of the site that was named. Raises `SettingsError`, `UnknownSiteError`, `UnknownTenantError`, and
        what `check_state` raises of the state directory."""
        settings = self.load().settings
        check_state(Path(settings.state_dir))
        if self.tenant is not None:
            check_tenant(settings, self.tenant)
        if self.site is None:
            return settings
        check_site(settings, self.site)
        return replace(settings, site=self.site)

    def site_settings(self) -> Settings:
        """Settings of a site, for what the hub does not do. Raises `NotOfHubError`, and as `settings` does."""
        settings = self.settings()
        if settings.site == HUB:
            raise NotOfHubError("the hub is no site: it takes no questions, and needs no lease")
        return settings


def with_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command `--config`, `--state` and the named options, as one argument `options`."""

    names = (*names, "config", "state_dir")

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(**given: Any) -> Any:
            shared = {name: given.pop(name) for name in names}
            return function(options=CommandOptions(**shared), **given)

        decorated: Callable[..., Any] = command
        for name in reversed(names):
            decorated = OPTIONS[name](decorated)
        return decorated

    return decorate


def print_result(result: object, text: object, as_json: bool) -> None:
    """Print the result of a command: as JSON where `--json` was given, else as `text`."""
    echo(msgspec.json.encode(result) if as_json else str(text))


def find_default_pack() -> Path:
    """The kiosk pack that is shipped with the package."""
    return Path(str(files("tidegate"))) / "infra" / "packs" / "kiosk"
