"""The cloud's own engine: vLLM in process, verifying what the edges drafted in the batch that it decodes anyway.

vLLM is imported by `engine` alone, when an engine starts. Its worker imports `proposer` from here, and nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.vllm_engine.engine import EngineSettings, NotSampled
    from services.vllm_engine.target import VllmTarget

__all__ = ["EngineSettings", "NotSampled", "VllmTarget"]

_LATE = {"EngineSettings": "engine", "NotSampled": "engine", "VllmTarget": "target"}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
