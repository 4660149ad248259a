"""Builds, trains and evaluates the models that are shipped; the product imports none of it."""

from pathlib import Path

HERE = Path(__file__).parent
WEIGHTS = HERE / "weights"
TOKENIZER = WEIGHTS / "tokenizer.json"
