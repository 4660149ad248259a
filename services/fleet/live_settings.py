"""The settings that a pack brings and that take effect with it, without a restart: those of screening and planning.

Promises that what the environment says stands, as at the start. Next: brokers/process/config.py, how they are read.
"""

from __future__ import annotations

import os
from typing import TypeVar

import msgspec

from tidegate.brokers.process.config import Loaded, load
from tidegate.services.packs.active import PackInForce
from tidegate.services.settings import Settings

LIVE: dict[str, tuple[str, ...]] = {
    "prefilter": (
        "languages",
        "phone_regions",
        "name_model",
        "name_budget_ms",
        "health_data",
        "patterns",
        "unsafe_threshold",
        "distress_threshold",
        "smalltalk_threshold",
        "emergency",
        "helpline",
    ),
    "router": (
        "k",
        "k_under_load",
        "queue_depth_high",
        "mode",
        "economy",
        "answer_tokens",
        "draft_token_ms",
        "knee_positions",
        "uplink_kbps",
    ),
    "drafter": ("escalate_below", "escalate_below_for"),
}
"""Sections, and their keys; what is not among them is the process's own, and needs a restart."""

S = TypeVar("S", bound=msgspec.Struct)


def with_live_settings(running: Settings, pack: PackInForce) -> Settings:
    """The settings of this process with those of a generation in force; of a pack's folder it has them already.

    Raises `SettingsError`.
    """
    file = pack.directory / "site.toml"
    if not (pack.number and file.is_file()):
        return running
    loaded = load(Settings, file, os.environ)
    return msgspec.structs.replace(
        running, **{section: _merged(getattr(running, section), section, loaded) for section in LIVE}
    )


def _merged(section: S, name: str, loaded: Loaded[Settings]) -> S:
    found = getattr(loaded.settings, name)
    given = [key for key in LIVE[name] if loaded.origins[f"{name}.{key}"] != "default"]
    return msgspec.structs.replace(section, **{key: getattr(found, key) for key in given})
