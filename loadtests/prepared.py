"""Prepares a hub and sites below one directory without sync, for what is measured and tested of answers alone.

The product fills sites by sync (decision 0034). Next: services/fleet/prepare.py, which prepares one domain."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence

from loadtests.index_copying import copy_index
from tidegate.schemas import replace
from tidegate.schemas.pack import Pack
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.models import ProgressReporter, build_models
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.prepare import prepare
from tidegate.services.settings import Settings


async def prepare_all(settings: Settings, sites: Sequence[str], pack: Pack, progress: ProgressReporter) -> None:
    """Prepare the hub and every site of this machine below `settings.state_dir`. Raises `ModelBuildError`."""
    await build_models(settings, progress)
    hub, first, *others = [replace(settings, site=site) for site in (HUB, *sites)]
    await asyncio.to_thread(prepare, hub, pack, progress)
    await asyncio.to_thread(prepare, first, pack, progress)
    for other in others:
        await asyncio.to_thread(copy_prepared, first, other)
        await asyncio.to_thread(prepare, other, pack, progress)


def copy_prepared(ready: Settings, new: Settings) -> None:
    """Spare a new site the work that another site of this machine has done; what is there already is left alone."""
    source, target = StatePaths(ready), StatePaths(new)
    if target.intent_head.exists():
        return
    target.home.mkdir(parents=True, exist_ok=True)
    for tenant in new.tenants:
        copy_index(source.index(tenant), target.index(tenant))
        tuned = source.tuned_calibration(tenant).parent
        if tuned.exists():
            shutil.copytree(tuned, target.tuned_calibration(tenant).parent, dirs_exist_ok=True)
    for made in ("calibration", "intent_head", "published"):
        shutil.copy2(getattr(source, made), getattr(target, made))
