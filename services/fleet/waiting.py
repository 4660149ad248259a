"""Has what answers wait until a pack is in force in its domain: sync brings it, and may take its time.

Promises that a domain which has one waits for nobody, neither for its sync worker nor for the hub, but for what is made
anew after the models were exchanged. Next: filling.py, the other side; services/replication, which brings packs into
force."""

from __future__ import annotations

import asyncio
import time

import msgspec
import structlog

from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.made_files import MODELS, digest_models
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.settings import Settings
from tidegate.sync.trust.keys import KeyStore

LOOK_EVERY_S = 0.2
SAY_EVERY_S = 60.0
REMADE_WITHIN_S = 600.0
"""So long tenants whose parts fit the models wait for one whose parts do not: it may have a fault that stays."""
log = structlog.get_logger()


class MissingPack(msgspec.Struct, frozen=True):
    """Why a domain cannot answer yet, and what to do about it."""

    reason: str
    hint: str
    is_of_all: bool = True
    """Whether no tenant can be answered; else some cannot."""


def find_missing_pack(settings: Settings) -> MissingPack | None:
    """What a domain waits for; None where a pack's folder was prepared, or a generation of any tenant is in force and
    each that is was made with the models that are here. Raises `OSError`."""
    paths = StatePaths(settings)
    if is_prepared(paths):
        return None
    if in_force := [each for each in settings.tenants if GenerationStore(paths.active(each)).pointer.exists()]:
        models = digest_models(paths)
        # Where there are no models, or it is not known of which something was made, whoever needs them says so.
        stale = [each for each in in_force if models and _made_with(paths, each) not in ("", models)]
        hint = "its sync worker makes it; `tidegate sync status` shows what keeps it from that"
        reason = f"what belongs to the pack of {', '.join(stale)} was made with other models, and is made anew"
        return MissingPack(reason, hint, is_of_all=stale == in_force) if stale else None
    if not KeyStore(paths.keys).is_empty:
        tenants = ", ".join(settings.tenants)
        hint = "`tidegate publish pack DIR` at the hub publishes one; `tidegate sync status` says what was sent here"
        return MissingPack(f"no pack of {tenants} is in force at {settings.site} yet", hint)
    command = "keys init" if settings.site == HUB else f"site add {settings.site}"
    return MissingPack(f"{settings.site} was never provisioned", f"`tidegate {command}` does it")


def is_prepared(paths: StatePaths) -> bool:
    """Whether the domain answers by a pack's folder, as tests and benches have it prepared."""
    return paths.calibration.exists() and paths.pack.is_dir()


async def wait_until_in_force(settings: Settings) -> None:
    """Return when a pack is in force, made with the models that are here; until then log what is waited for, at first
    and every minute.

    A tenant of which nothing is in force then is closed until there is. Raises `OSError`.
    """
    logged: MissingPack | None = None
    logged_at_s, until_s = 0.0, time.monotonic() + REMADE_WITHIN_S
    while (missing := find_missing_pack(settings)) and (missing.is_of_all or time.monotonic() < until_s):
        if missing != logged or time.monotonic() - logged_at_s > SAY_EVERY_S:
            log.warning("waiting_for_pack", reason=missing.reason, hint=missing.hint)
            logged, logged_at_s = missing, time.monotonic()
        await asyncio.sleep(LOOK_EVERY_S)
    if logged is not None:
        log.info("pack_in_force")
    _close_others(settings)


def _made_with(paths: StatePaths, tenant: str) -> str:
    """Which models the parts in force of a tenant were made with; empty where that is not known."""
    record = GenerationStore(paths.active(tenant)).usable()
    return record.made_of.get(MODELS, "") if record is not None else ""


def _close_others(settings: Settings) -> None:
    """Have tenants of which nothing is in force yet be closed: stages would look for a pack's folder for them."""
    paths = StatePaths(settings)
    if not is_prepared(paths):
        for tenant in settings.tenants:
            paths.active(tenant).mkdir(parents=True, exist_ok=True)
