"""The backend `vllm` where there is no model, or no vLLM: it says so, with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.vllm_engine import MODEL, has_vllm
from tidegate.services.llm.errors import ModelRefusedError
from tidegate.services.llm.targets.vllm.engine import VllmUnsuitableError
from tidegate.services.llm.targets.vllm.target import VllmTarget

pytestmark = pytest.mark.anyio


async def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefusedError, match=str(tmp_path)) as raised:
        await VllmTarget.open(tmp_path)
    assert raised.value.hint


@pytest.mark.skipif(has_vllm(), reason="vLLM is installed here")
async def test_without_vllm_its_installation_is_named() -> None:
    with pytest.raises(VllmUnsuitableError, match="not installed") as raised:
        await VllmTarget.open(MODEL)
    assert "make vllm" in raised.value.hint
