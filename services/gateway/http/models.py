"""The models of a site as OpenAI's API lists them: one, under its own name and the aliases of the settings."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Literal

import msgspec

from tidegate.services.gateway.http.openai import MODEL


class ModelInfo(msgspec.Struct):
    """A name under which the site answers, and since when, in Unix seconds."""

    id: str
    created: int
    object: Literal["model"] = "model"
    owned_by: str = "tidegate"


class ModelList(msgspec.Struct):
    """All names."""

    data: list[ModelInfo]
    object: Literal["list"] = "list"


def list_models(aliases: Iterable[str]) -> dict[str, ModelInfo]:
    """The names under which clients may ask."""
    created = int(time.time())
    return {name: ModelInfo(name, created) for name in (MODEL, *sorted(aliases))}
