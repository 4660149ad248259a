"""What a language model adds to the hub's reader: the shipped pair's target beside the model in the box, both embedded:
`python -m loadtests.bench.answers_models DATA`. DATA is a directory of files as `qa_sites` describes them.

Both get the same readings of the same questions, in turn, and answer as the hub serves a class that a policy lets be
`grounded`: the pair's target quotes, the other writes. Under `quote` the other is not called: the reader answers alone.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from loadtests.bench.measure import SIDES, Bar, Entry, Measurement, Side, Target
from loadtests.bench.model_side import HubAnswer, ModelBehindReader, ModelCost, ReadQuestion, judge
from loadtests.bench.qa_sites import QaSite, read_files
from tidegate.schemas import Answer
from tidegate.services.answering.answerer import NONE_BELOW
from tidegate.services.knowledge.reader.calibration import SHIPPED
from tidegate.services.knowledge.reader.effort import AT_HUB
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.stages.settings import CloudVerifierSettings

NAME = "answers_models"
FILE = Path("qa")
MODELS = Path(".models")
PAIR = MODELS / "lm" / "target"
BOXED = MODELS / "smollm2-135m-instruct"
NEEDED = (BOXED,)
"""What must be there beside what `make models` builds; `make lm` builds it."""
LANGUAGE = "en"
"""Both models were trained on English."""
KINDS = ("plain", "paraphrase", "impossible_near")
QUESTIONS = 40
THREADS = CloudVerifierSettings().threads


class ModelSide(msgspec.Struct, frozen=True):
    """A model's answers, in the order of the questions, and what it takes."""

    answers: tuple[HubAnswer, ...]
    cost: ModelCost


class Comparison(msgspec.Struct, frozen=True):
    """The same questions answered by the reader alone, and by each model behind it."""

    reader: tuple[HubAnswer, ...]
    pair: ModelSide
    boxed: ModelSide


def read_questions(directory: Path, units: UnitReader, count: int) -> list[ReadQuestion]:
    """At most so many questions, drawn evenly, as the hub reads them over the documents of their file."""
    files = [file for file in read_files(directory) if any(each.language == LANGUAGE for each in file.documents)]
    asked = [question for file in files for question in file.questions if question.kind in KINDS]
    asked = [question for question in asked if question.language == LANGUAGE]
    drawn = set(sorted(asked, key=lambda each: hashlib.sha256(each.text.encode()).digest())[:count])
    reader = Reader(units, SHIPPED, AT_HUB)
    found = []
    for file in files:
        with tempfile.TemporaryDirectory() as home:
            site = QaSite(file.documents, units, Path(home))
            for each in file.questions:
                if each in drawn:
                    reading = reader.rank_spans(each.text, each.language, site.search(each), site.index)
                    found.append(ReadQuestion(each, reading))
    return found


async def compare(asked: Sequence[ReadQuestion], pair: Path, boxed: Path, threads: int = THREADS) -> Comparison:
    """Every question answered by each model, the one first and the other first in turn."""
    surest = max(asked, key=lambda each: each.reading.answer.confidence)
    models = [ModelBehindReader(pair, threads)]
    costs = [await models[0].warm_up(surest)]
    models.append(ModelBehindReader(boxed, threads))
    costs.append(await models[1].warm_up(surest))
    found: list[list[HubAnswer]] = [[], []]
    for number, each in enumerate(asked):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            found[side].append(await models[side].answer(each))
    for model in models:
        await model.close()
    ours, peer = (ModelSide(tuple(answers), cost) for answers, cost in zip(found, costs, strict=True))
    return Comparison(tuple(judge(each.question, quote(each)) for each in asked), ours, peer)


def quote(asked: ReadQuestion) -> Answer:
    """The hub's answer without a model."""
    answer = asked.reading.answer
    return answer if answer.confidence >= NONE_BELOW else Answer(text="")


def shares(judged: Sequence[HubAnswer]) -> dict[str, float]:
    """Per cent: right of what has an answer; wrong of all; of what a model answered what was refused once, and for
    good; and how often the answer is right where what the model said stands, and where not."""
    asked = [each for each in judged if each.is_answerable]
    called = [each for each in judged if each.steps]
    kept, refused = ([each for each in called if each.stands is stands] for stands in (True, False))
    return {
        "right": _share(asked, lambda each: each.is_right),
        "wrong": _share(judged, lambda each: each.is_given and not each.is_right),
        "retried": _share(called, lambda each: each.is_retried),
        "refused": _share(called, lambda each: not each.stands),
        "right_where_kept": _share(kept, lambda each: each.is_right),
        "right_where_refused": _share(refused, lambda each: each.is_right),
    }


def figures(side: ModelSide) -> dict[str, tuple[float, ...]]:
    """What the bars look at, by name."""
    called = [each for each in side.answers if each.steps]
    return {
        **{name: (value,) for name, value in shares(side.answers).items()},
        "answer_ms": tuple(each.took_ms for each in called),
        "first_ms": tuple(each.first_ms for each in called),
        "steps": tuple(float(each.steps) for each in called),
        "tokens": tuple(float(each.tokens) for each in called),
        "tokens_per_s": tuple(each.tokens / each.took_ms * 1e3 for each in called),
        **{name: (value,) for name, value in msgspec.structs.asdict(side.cost).items()},
    }


async def blocks(data: Path, repeats: int) -> AsyncIterator[Measurement]:
    """Medians of the time that a model takes for an answer, each block over its part of the same questions."""
    asked = await asyncio.to_thread(lambda: read_questions(data, UnitReader.load(MODELS), QUESTIONS))
    compared = await compare(asked, PAIR, BOXED)
    sides: tuple[tuple[Side, ModelSide], ...] = (("ours", compared.pair), ("peer", compared.boxed))
    for number in range(repeats):
        for name, side in sides:
            times_ms = [each.took_ms for each in side.answers if each.steps][number::repeats]
            yield Measurement(name, statistics.median(times_ms), figures(side))


def entry(data: Path) -> Entry:
    """The line of the bench over a directory of questions."""
    shown = {"right": "%", "wrong": "%", "retried": "%", "refused": "%", "right_where_refused": "%"}
    measured = {"first_ms": "ms", "steps": "", "tokens_per_s": "tokens/s"}
    taken = {"memory_mib": "MiB", "disk_mib": "MiB", "start_ms": "ms"}
    return Entry(
        name=NAME,
        unit="ms that a model takes for an answer, p50",
        peer_name="SmolLM2-135M-Instruct, embedded, in its own words, each sentence judged",
        target=Target("≤", 0.1),
        blocks=partial(blocks, data),
        bars=(
            Bar(samples="right", quantile=0.5, target=Target("≥", 1.0), of="ratio"),
            Bar(samples="memory_mib", quantile=0.5, target=Target("≤", 0.1), of="ratio"),
            *(
                Bar(samples=name, quantile=0.5, unit=unit, of=side)
                for name, unit in (shown | measured | taken).items()
                for side in SIDES
            ),
        ),
    )


def table_of(compared: Comparison) -> str:
    """The figures of both models, their ratio, and the shares of the reader alone: medians where there are several."""
    alone = shares(compared.reader)
    ours, peer = figures(compared.pair), figures(compared.boxed)
    lines = [f"{'':<22}{'reader alone':>14}{'pair':>12}{'boxed':>12}{'ratio':>10}"]
    for name in ours:
        left, right = (statistics.median(each[name]) if each[name] else 0.0 for each in (ours, peer))
        own = f"{alone[name]:>14.1f}" if name in ("right", "wrong") else f"{'':>14}"
        lines.append(f"{name:<22}{own}{left:>12.1f}{right:>12.1f}{left / right if right else 0.0:>10.3f}")
    asked = sum(each.is_answerable for each in compared.reader)
    return "\n".join((*lines, f"{len(compared.reader)} questions, of which {asked} have an answer"))


def _share(judged: Sequence[HubAnswer], counts: Callable[[HubAnswer], bool]) -> float:
    return 100 * sum(map(counts, judged)) / max(1, len(judged))


def main() -> int:
    """0 when the pair's answers are right as often as those of the model in the box."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--threads", type=int, default=THREADS, help="of the boxed model, for one answer")
    given = parser.parse_args()
    asked = read_questions(given.data, UnitReader.load(MODELS), given.questions)
    compared = asyncio.run(compare(asked, PAIR, BOXED, given.threads))
    print(table_of(compared))
    return 0 if shares(compared.pair.answers)["right"] >= shares(compared.boxed.answers)["right"] else 1


if __name__ == "__main__":
    sys.exit(main())
