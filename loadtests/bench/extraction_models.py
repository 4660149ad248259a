"""What a site's language model adds to extraction, which asks it for what the reader does not find and must be there:
`python -m loadtests.bench.extraction_models DATA`. DATA is JSON Lines as `answers_extraction` reads them."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

from loadtests.bench.answers_extraction import measure_texts, ours, read_records, shares
from tidegate.schemas import Answer
from tidegate.services.llm.json_extraction import fill_schema
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.site_model import SiteModel


def with_model(record: dict[str, Any], model: SiteModel) -> Answer:
    """The product's reader, and the model."""
    return fill_schema(model, record["text"], json.dumps(record["schema"]), record["language"])


def compare(records: list[dict[str, Any]], model: SiteModel) -> dict[str, tuple[float, float]]:
    """Each figure of `answers_extraction`, medians, by the reader alone and with the model."""
    alone, helped = (shares(measure_texts(records, fill)) for fill in (ours, partial(with_model, model=model)))
    return {name: (statistics.median(alone[name]), statistics.median(helped[name])) for name in alone}


def main() -> int:
    """0 when as many fields are right with the model as without, and no more texts answered wrongly."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, default=Path(".models/lm/draft"))
    given = parser.parse_args()
    found = compare(read_records(given.data), SiteModel(CausalLM(given.model)))
    print(f"{'':<24}{'reader alone':>14}{'with the model':>16}")
    for name, (alone, helped) in found.items():
        print(f"{name:<24}{alone:>14.1f}{helped:>16.1f}")
    fields, wrong = found["fields_right"], found["texts_answered_wrong"]
    return 0 if fields[1] >= fields[0] and wrong[1] <= wrong[0] else 1


if __name__ == "__main__":
    sys.exit(main())
