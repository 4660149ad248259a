"""The bench of extraction with a language model compares it with the reader alone, field by field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadtests.bench.answers_extraction import measure_texts, ours, same
from loadtests.bench.extraction_models import compare, with_model
from tests.support import tiny_models
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.site_model import SiteModel

TEXT = "Please transfer 300 euros to Vale"
FIELDS = {"amount": {"type": "number"}, "receiver": {"type": "string"}}
RECORD: dict[str, Any] = {
    "id": "1",
    "language": "en",
    "text": TEXT,
    "schema": {"type": "object", "properties": FIELDS, "required": [*FIELDS]},
    "truth": {"amount": 300, "receiver": "Vale"},
}


@pytest.mark.parametrize(
    ("found", "true", "is_same"), [(3, 3.0, True), (True, 1, False), (0, False, False), ("Ann", "ann", False)]
)
def test_values_are_the_same_by_value_but_true_is_no_number(found: object, true: object, is_same: bool) -> None:
    assert same(found, true) is is_same


def test_a_language_model_is_asked_for_what_the_reader_does_not_find(tmp_path: Path) -> None:
    model = SiteModel(CausalLM(tiny_models.save(tmp_path, seed=8)))
    [alone] = measure_texts([RECORD], ours)
    [helped] = measure_texts([RECORD], lambda record: with_model(record, model))
    assert [field.found for field in alone.fields] == [300, None]
    assert helped.fields[0].found == 300
    assert helped.fields[1].found in TEXT
    found = compare([RECORD], model)
    assert found["fields_right"] == (50, 100 if helped.fields[1].is_right else 50)
