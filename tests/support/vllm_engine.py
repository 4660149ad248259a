"""What the tests of the real engine share: the model, prompts of the bank branch, and one engine for a whole run."""

from __future__ import annotations

import importlib.util
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tidegate.services.llm.targets.vllm.target import VllmTarget
from tidegate.services.llm.text.prompts import answer_prompt
from tidegate.services.llm.text.tokenizer import TokenText

MODEL = Path(".models/lm/target")
PACK = Path("infra/packs/kiosk")
MOST_ALIKE = 2
"""Words of a question that at least one sentence has, too: to others the model rightly says that nothing answers."""


def has_vllm() -> bool:
    """Whether vLLM is installed; a folder of that name, such as this one, is none."""
    found = importlib.util.find_spec("vllm")
    return found is not None and found.origin is not None


needs_vllm = pytest.mark.skipif(not has_vllm(), reason="vLLM is not installed in this environment: make vllm")


def pids_of(target: VllmTarget) -> tuple[int, ...]:
    """The processes that the model runs in; none while the engine is being started."""
    engine = target._engine
    if engine is None or engine.is_dead:
        return ()
    return tuple(process.pid for process in engine._llm.engine_core.resources.engine_manager.processes)


async def drafts_held(target: VllmTarget) -> int:
    """How many drafts the engine's workers hold."""
    return sum(await target._serving().call("tidegate_held"))


def prompts_of_the_branch(tokens: TokenText, count: int, seed: int = 1) -> list[tuple[int, ...]]:
    """Prompts for `count` questions, each with sentences that share most words with it among others; all different."""
    dice = random.Random(seed)
    yaml = YAML(typ="safe", pure=True)
    asked = [each for each in yaml.load(PACK / "questions.yaml") if each.get("documents")]
    texts = {path.stem: path.read_text() for path in sorted((PACK / "documents").rglob("*.md"))}
    sentences = {
        name: [one for one in re.split(r"(?<=[.!?])\s+|\n+", text) if len(one) > 40] for name, text in texts.items()
    }
    prompts: dict[tuple[int, ...], None] = {}
    while len(prompts) < count:
        each = dice.choice(asked)
        own = [one for name in each["documents"] for one in sentences.get(name, [])]
        others = [one for name in dice.sample(sorted(sentences), 2) for one in sentences[name]]
        output = words_of(each["text"])
        own.sort(key=lambda one: len(words_of(one) & output), reverse=True)
        if not own or len(words_of(own[0]) & output) < MOST_ALIKE:
            continue
        held = [*own[:3], *dice.sample(others, min(3, len(others)))]
        dice.shuffle(held)
        prompts[answer_prompt(tokens, each["text"], held, 480).ids] = None
    return list(prompts)


def words_of(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) > 3}


def drafts_of(answer: Sequence[int], foreign: Sequence[int], size: int, dice: random.Random) -> dict[str, list[int]]:
    """Drafts of every sort for one answer, by name; `foreign` is the answer to something else."""
    middle = len(answer) // 2
    return {
        "right": list(answer),
        "truncated": list(answer[: max(1, middle)]),
        "substituted": [*answer[:middle], dice.randrange(19, size), *answer[middle + 1 :]],
        "left out": [*answer[:middle], *answer[middle + 3 :]],
        "put in": [*answer[:middle], *(dice.randrange(19, size) for _ in range(3)), *answer[middle:]],
        "other mark": [11 if tuple(answer[:1]) == (10,) else 10, *answer[1:]],
        "wrong": [dice.randrange(size) for _ in range(40)],
        "adversarial": [each for at in range(len(answer)) for each in (*answer[max(0, at - 8) : at], 19 + at)][:512],
        "ended": [*answer[:middle], 2, *answer[middle:]],
        "foreign": list(foreign),
        "beyond": [*answer[:2], size, 10**9, -1, *answer[2:]],
    }
