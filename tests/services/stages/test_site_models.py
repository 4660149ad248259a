"""Which tenant writes with which model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.services.llm.errors import ModelRefusedError
from tidegate.services.stages.drafter.site_models import SiteModels

MODELS = Path(".models")


def test_a_tenant_with_an_adapter_has_a_model_of_its_own_and_the_others_share_the_plain_one() -> None:
    writers = SiteModels(MODELS, {"signs": "signpost"})
    assert writers.of("kiosk") is writers.of("shop")
    assert writers.of("signs").artefact.id == "signpost"
    assert writers.of("signs").artefact.version != writers.of("kiosk").artefact.version
    assert writers.of("signs").tokenizer.digest == writers.of("kiosk").tokenizer.digest


def test_an_adapter_that_is_not_there_is_refused_with_a_hint() -> None:
    with pytest.raises(ModelRefusedError, match=r"adapters/nobody.*make models"):
        SiteModels(MODELS, {"signs": "nobody"})
