"""The models of a site as OpenAI's API lists them: one, under its own name and the aliases of the settings."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Literal

import msgspec

from tidegate.schemas.refusals import refusal
from tidegate.services.gateway.http.openai import MODEL
from tidegate.services.gateway.refusals import RequestRefusedError


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


class ModelCatalogue:
    """The names under which clients may ask."""

    def __init__(self, aliases: Iterable[str]) -> None:
        created = int(time.time())
        self._models = {name: ModelInfo(name, created) for name in (MODEL, *sorted(aliases))}

    @property
    def names(self) -> frozenset[str]:
        """All of them."""
        return frozenset(self._models)

    def list(self) -> ModelList:
        """The reply to GET /v1/models."""
        return ModelList(list(self._models.values()))

    def get(self, name: str) -> ModelInfo:
        """The reply to GET /v1/models/{name}. Raises `RequestRefusedError` for a name that is none."""
        if name not in self._models:
            raise RequestRefusedError(refusal("unknown_model", model=name[:64]), "model")
        return self._models[name]
