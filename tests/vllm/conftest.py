"""One engine for all tests of this folder: starting one takes the better part of a minute."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.vllm_engine import MODEL
from tidegate.services.llm.targets.vllm.engine import EngineSettings
from tidegate.services.llm.targets.vllm.target import VllmTarget
from tidegate.services.llm.text.tokenizer import TokenText


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/vllm" in item.path.as_posix():
            item.add_marker(pytest.mark.filterwarnings("default"))  # vLLM's own imports warn


@pytest.fixture(scope="session")
def tokens() -> TokenText:
    return TokenText.load(MODEL / "tokenizer.json")


@pytest.fixture(scope="session")
async def engine(tokens: TokenText) -> AsyncIterator[VllmTarget]:
    opened = await VllmTarget.open(MODEL, tokens, EngineSettings(quotes=True))
    yield opened
    await opened.close()
