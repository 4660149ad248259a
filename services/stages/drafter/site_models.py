"""The site's language model as each tenant has it: with that tenant's adapter, where the settings name one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.site_model import SiteModel


class SiteModels:
    """A model for each tenant; tenants without an adapter share the one of the plain model."""

    def __init__(self, models: Path, adapters: Mapping[str, str]) -> None:
        """`adapters`: tenant to the name of a directory in `models/lm/adapters`, which `make models` merges with the
        draft model. Raises `ModelRefusedError` where there is none of that name."""
        self._plain = SiteModel(CausalLM(models / "lm" / "draft"))
        self._adapted = {
            tenant: SiteModel(CausalLM(models / "lm" / "adapters" / name), name) for tenant, name in adapters.items()
        }

    def of(self, tenant: str) -> SiteModel:
        """The model of the tenant."""
        return self._adapted.get(tenant, self._plain)
