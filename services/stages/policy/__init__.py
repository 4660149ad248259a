"""The policy's composition root."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tidegate.brokers.base import House
from tidegate.brokers.settings import Settings
from tidegate.brokers.stage import Handler
from tidegate.schemas import Drafted, Message, Partial, Verified, decode, encode, subjects


@asynccontextmanager
async def open(settings: Settings, house: House) -> AsyncIterator[Handler]:  # noqa: A001 - the house's word for it
    """Yield the handler once every policy of the pack is in force. Raises `BadPolicy`: without one nothing may pass.

    Beside it, answers in the making are judged as they come, the edge's and the cloud's, and told on to the publisher.
    """
    from tidegate.services.fleet.paths import Places
    from tidegate.services.planning.degradation import Pace
    from tidegate.services.policies.language import load_policies
    from tidegate.services.privacy.dlp import Detector
    from tidegate.services.stages.policy.handler import judge, judge_partial

    folder = Places(settings).pack / "policies"
    policies = load_policies(sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]))
    detector = Detector(settings.prefilter.phone_regions)

    async def hear(_: str, data: bytes) -> None:
        passed = await judge_partial(decode(data, Partial), policies=policies, find_personal=detector.find)
        if passed is not None:
            await house.tell(subjects.partial(True, passed.tenant, passed.rid), encode(passed))

    await house.listen(subjects.PARTIAL_DRAFTED, hear)
    await house.listen(subjects.said(settings.site), hear)
    pace = Pace("policy", {"full": 0.0}, time.time)

    async def handler(answered: Drafted | Verified) -> list[Message]:
        began_s = time.perf_counter()
        [settled] = await judge(answered, policies=policies, find_personal=detector.find, short_of=pace.short_of)
        if pace.rung(answered) != "abstain":
            pace.took(pace.rung(settled), (time.perf_counter() - began_s) * 1000)
        return [settled]

    yield handler
