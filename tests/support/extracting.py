"""Extraction as a site does it, with the reader of fields, and by the ranker alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tidegate.services.knowledge.extraction.extraction import extract
from tidegate.services.knowledge.extraction.field_reader import FieldReader


@pytest.fixture(autouse=True, params=["ranker", "reader"])
def with_and_without_the_reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that imports this has each of its tests run both ways: its `extract` is the one or the other."""
    if request.param == "reader":
        monkeypatch.setattr(request.module, "extract", partial(extract, reader=FieldReader.load(Path(".models"))))
