"""Looks for names at the hub as sites do: with the model, where the hub has it, save those that a tenant publishes.

Promises that nobody is searched by a model who has that off, nor where the hub does not know what is published: there
one name in sixteen would be taken for a secret. Next: services/uplink/intake.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.readers import TenantReading
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.privacy.dlp.person_model import PersonModel
from tidegate.services.settings import Settings
from tidegate.services.uplink.escalation_checks import FindByRules

_log = structlog.get_logger()
CurrentReading = Callable[[str], TenantReading | None]


class HubNames:
    """What finds names of the tenants whose readings are in force. `model` None: nothing does."""

    def __init__(self, model: PersonModel | None, reading_of: CurrentReading, budget_s: float) -> None:
        self._model = model
        self._reading_of = reading_of
        self._budget_s = budget_s
        self._made: dict[str, tuple[TenantReading, Detector]] = {}

    @classmethod
    async def load(cls, settings: Settings, reading_of: CurrentReading) -> HubNames:
        """With the model of the settings; that there is none is logged. Raises `NameModelMissingError` where there is
        one that is damaged."""
        model, models = None, StatePaths(settings).models
        if settings.privacy.names_at_hub:
            if (models / "ner").is_dir():
                model = await asyncio.to_thread(PersonModel.load, models)
            else:
                _log.warning("names_not_searched", reason=f"no model for names in {models}", hint="run `make models`")
        return cls(model, reading_of, settings.privacy.names_at_hub_budget_ms / 1000)

    def of(self, tenant: str) -> FindByRules | None:
        """What finds the names of a tenant now."""
        reading = self._reading_of(tenant)
        if self._model is None or reading is None or reading.published is None:
            return None
        if not reading.settings.prefilter.name_model:
            return None
        known = self._made.get(tenant)
        if known is None or known[0] is not reading:
            known = reading, Detector((), self._model, reading.published, budget_s=self._budget_s)
            self._made[tenant] = known
        return known[1].find
