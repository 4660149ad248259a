"""Has what answers wait until a pack is in force in its domain: sync brings it, and may take its time.

Promises that a domain which has one waits for nobody: neither for its sync worker nor for the hub. Next: filling.py,
the other side; services/replication, which brings packs into force."""

from __future__ import annotations

import asyncio
import time

import msgspec
import structlog

from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.settings import Settings
from tidegate.sync.trust.keys import KeyStore

LOOK_EVERY_S = 0.2
SAY_EVERY_S = 60.0
log = structlog.get_logger()


class MissingPack(msgspec.Struct, frozen=True):
    """Why a domain cannot answer yet, and what to do about it."""

    reason: str
    hint: str


def find_missing_pack(settings: Settings) -> MissingPack | None:
    """What a domain waits for; None where a generation of any tenant is in force, or a pack's folder was prepared."""
    paths = StatePaths(settings)
    if is_prepared(paths) or any(GenerationStore(paths.active(each)).pointer.exists() for each in settings.tenants):
        return None
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
    """Return when a pack is in force; until then log what is waited for, at first and every minute.

    A tenant of which nothing is in force then is closed until there is. Raises `OSError`.
    """
    logged: MissingPack | None = None
    logged_at_s = 0.0
    while missing := find_missing_pack(settings):
        if missing != logged or time.monotonic() - logged_at_s > SAY_EVERY_S:
            log.warning("waiting_for_pack", reason=missing.reason, hint=missing.hint)
            logged, logged_at_s = missing, time.monotonic()
        await asyncio.sleep(LOOK_EVERY_S)
    if logged is not None:
        log.info("pack_in_force")
    _close_others(settings)


def _close_others(settings: Settings) -> None:
    """Have tenants of which nothing is in force yet be closed: stages would look for a pack's folder for them."""
    paths = StatePaths(settings)
    if not is_prepared(paths):
        for tenant in settings.tenants:
            paths.active(tenant).mkdir(parents=True, exist_ok=True)
