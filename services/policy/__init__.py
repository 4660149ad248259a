"""The policy's composition root."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from brokers.base import House
from brokers.settings import Settings
from brokers.stage import Handler


@asynccontextmanager
async def open(settings: Settings, house: House) -> AsyncIterator[Handler]:  # noqa: A001, ARG001 - the form of all
    """Yield the handler once every policy of the pack is in force. Raises `BadPolicy`: without one nothing may pass."""
    from services.dlp import Detector
    from services.places import Places
    from services.policy.handler import judge
    from services.policy.rules import load_policies

    folder = Places(settings).pack / "policies"
    policies = load_policies(sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]))
    detector = Detector(settings.prefilter.phone_regions)
    yield partial(judge, policies=policies, find_personal=detector.find)
