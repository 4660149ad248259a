"""Which tenant writes with which model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.services.llm.errors import ModelRefusedError
from tidegate.services.stages.drafter import load_models

MODELS = Path(".models")


def test_a_tenant_with_an_adapter_has_a_model_of_its_own_and_the_others_share_the_plain_one() -> None:
    model_of = load_models(MODELS, {"signs": "signpost"})
    assert model_of("kiosk") is model_of("shop")
    assert model_of("signs").artefact.id == "signpost"
    assert model_of("signs").artefact.version != model_of("kiosk").artefact.version
    assert model_of("signs").tokenizer.digest == model_of("kiosk").tokenizer.digest


def test_an_adapter_that_is_not_there_is_refused_with_a_hint() -> None:
    with pytest.raises(ModelRefusedError, match=r"adapters/nobody.*make models"):
        load_models(MODELS, {"signs": "nobody"})
