"""How every command gets its settings: the pack's site.toml or a named file, the environment, its own options."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tidegate.brokers.process.config import Loaded
    from tidegate.brokers.settings import Settings

CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), default=None, help="Settings file [default: <pack>/site.toml]."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
SITE = click.option("--site", default="site1", show_default=True, help="The site to talk to.")


def default_pack() -> Path:
    """The kiosk pack that is shipped with the package."""
    return Path(str(files("tidegate"))) / "infra" / "packs" / "kiosk"


def load_settings(config: Path | None, **overrides: Any) -> Settings:
    """Settings for this command; `overrides` that are None are left alone."""
    return load(config, **overrides).settings


def load(config: Path | None, **overrides: Any) -> Loaded:
    from tidegate.brokers.process.config import load as load_file

    pack = Path(overrides.get("pack_dir") or os.environ.get("TIDEGATE_PACK_DIR") or default_pack())
    given = {name: value for name, value in overrides.items() if value is not None}
    given["pack_dir"] = str(pack)
    path = config
    if path is None and (pack / "site.toml").exists():
        path = pack / "site.toml"
    return load_file(path, os.environ, **given)
