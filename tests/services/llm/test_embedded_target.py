"""The target in this process keeps what every target promises."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.support import tiny_models
from tests.support.foreign_models import save_foreign
from tests.support.target_conformance import ClosingActs, TargetActs
from tidegate.infra.models.export.directory import export as export_directory
from tidegate.services.inference import RuntimeArray
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.targets.base import GenerationRequest, Target
from tidegate.services.llm.targets.embedded import EmbeddedTarget
from tidegate.services.llm.text.prompts import answer_prompt

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return CausalLM(tiny_models.save(tmp_path_factory.mktemp("lm"), seed=2))


class Gated(CausalLM):
    """A model that can be held up before a pass."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.is_entered, self.may_go = threading.Event(), threading.Event()

    def run(self, kept: dict[str, RuntimeArray], past: int, ids: Sequence[int]) -> Any:
        self.is_entered.set()
        assert self.may_go.wait(60)
        return super().run(kept, past, ids)


@pytest.fixture
def gated(tmp_path: Path) -> Gated:
    return Gated(tiny_models.save(tmp_path, seed=2))


@pytest.fixture(scope="module")
def prompt(lm: CausalLM) -> Sequence[int]:
    return answer_prompt(lm.own_tokens, "When does the branch open?", tiny_models.PROSE[:2], 240).ids


@pytest.fixture(scope="module")
def other_prompt(lm: CausalLM) -> Sequence[int]:
    return answer_prompt(lm.own_tokens, "What does a coin roll cost?", tiny_models.PROSE[1:3], 240).ids


@pytest.fixture(params=[1, 3], ids=["one thread", "three threads"])
async def target(lm: CausalLM, request: pytest.FixtureRequest) -> AsyncIterator[Target]:
    embedded = EmbeddedTarget(lm, threads=request.param)
    yield embedded
    await embedded.close()


class TestEmbedded(TargetActs):
    CONTEXT: ClassVar[int] = tiny_models.CONTEXT

    async def test_those_that_wait_are_counted_and_those_that_give_up_are_not(
        self, gated: Gated, prompt: Sequence[int]
    ) -> None:
        embedded = EmbeddedTarget(gated, threads=1)
        asked = [
            asyncio.ensure_future(embedded.generate(GenerationRequest(rid=f"r{number}", prompt=prompt)))
            for number in range(4)
        ]
        await asyncio.to_thread(gated.is_entered.wait)
        assert embedded.state().queue == 3
        asked[3].cancel()
        await asyncio.gather(asked[3], return_exceptions=True)
        assert embedded.state().queue == 2
        gated.may_go.set()
        assert len({(await each).ids for each in asked[:3]}) == 1
        assert embedded.state().queue == 0
        await embedded.close()


class TestClosing(ClosingActs):
    pass


def test_it_is_named_as_its_directory_and_versioned_by_its_bytes(tmp_path: Path) -> None:
    one = EmbeddedTarget.load(tiny_models.save(tmp_path / "one", seed=1))
    two = EmbeddedTarget.load(tiny_models.save(tmp_path / "two", seed=2))
    assert (one.artefact.kind, one.artefact.id) == ("model", "one")
    assert one.artefact.version != two.artefact.version
    assert one.tokenizer.digest == two.tokenizer.digest


def test_a_model_is_opened_once_with_all_threads_unless_it_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []

    class Watched(CausalLM):
        def __init__(self, directory: Path, *, threads: int, **more: Any) -> None:
            opened.append(threads)
            super().__init__(directory, threads=threads, **more)

    monkeypatch.setattr("tidegate.services.llm.targets.embedded.CausalLM", Watched)
    foreign = save_foreign(tmp_path / "foreign", "qwen2")
    export_directory(foreign, foreign, "fp32")
    assert not EmbeddedTarget.load(foreign, threads=3, quotes=True).quotes
    assert EmbeddedTarget.load(tiny_models.save(tmp_path / "ours", seed=1), threads=3, quotes=True).quotes
    assert opened == [3, 1]
