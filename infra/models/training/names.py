"""Trains the filter over the model for names: which of the words that it proposes are a name or an address.

Positive are frames of data/personal.toml filled by Faker; negative are documents, questions and harmless messages.
The filter is logistic, over features of services/privacy/dlp/person_words.py. Next: export/ner.py.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from tidegate.infra.models import HERE, WEIGHTS
from tidegate.services.privacy.dlp.person_context import read_context
from tidegate.services.privacy.dlp.person_filter import BUCKETS, hash_keys
from tidegate.services.privacy.dlp.person_groups import find_candidates
from tidegate.services.privacy.dlp.person_model import PersonModel
from tidegate.services.privacy.dlp.person_words import ScoredWord, describe, split_words
from tidegate.services.privacy.dlp.published import PublishedText

FRAMES = HERE / "data" / "personal.toml"
FILLED = 20
"""How often each frame is filled."""
LOWER = 0.15
"""The share of filled frames that is written without capitals."""
SENTENCES = 12
"""How many sentences of a document are taken."""
PENALTIES = (1e-4, 1e-3)
"""L2 of the numbers and of the hashed features."""
STEPS, RATE = 400, 0.05
DROPPED = 0.6
"""The share of keys that a proposal's second copy lacks."""
DEV = 5
"""One in so many texts is kept for development, and one in so many harmless messages."""
MOST_ALARMS = 0.01
"""The share of harmless texts in which something may be found."""
TRIES = 99
SLOT = re.compile(r"(\{\w+\})")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")

FloatArray = NDArray[np.float32]


class LabelledText(NamedTuple):
    """A text, what of it is a name or an address (kind, start, end), and what its site publishes."""

    language: str
    text: str
    truth: tuple[tuple[str, int, int], ...] = ()
    published: PublishedText = PublishedText()


Reader = Callable[[str], list[ScoredWord]]


class Proposal(NamedTuple):
    """A candidate of the model: its features, where it is, and whether it is one."""

    dense: FloatArray
    buckets: list[int]
    words: str
    is_personal: bool


def fill_frames(seed: int) -> list[LabelledText]:
    """The frames of every language with invented names and addresses of its locales."""
    faker = importlib.import_module("faker")  # of the `train` extra
    chance = random.Random(seed)
    found = []
    for language, spec in tomllib.loads(FRAMES.read_text("utf-8")).items():
        fakers = [faker.Faker(locale) for locale in spec["locales"]]
        for number, each in enumerate(fakers):
            each.seed_instance(seed + number)
        for frame in [*spec["names"], *spec["addresses"]] * FILLED:
            chosen = fakers[0] if chance.random() < 0.6 else chance.choice(fakers)
            found.append(_fill(language, frame, _invent(chosen, chance), chance.random() < LOWER))
    return found


def is_ours(name: str) -> bool:
    """Whether a name may be trained on: the others are kept for the bench (loadtests/bench/dlp_texts.py)."""
    return crc32(name.lower().encode()) % 2 == 0


def _invent(faker: Any, chance: random.Random) -> dict[str, str]:
    given = next(filter(is_ours, (faker.first_name() for _ in range(TRIES))))
    surname = next(filter(is_ours, (faker.last_name() for _ in range(TRIES))))
    locality = f"{faker.postcode()} {faker.city()}" if chance.random() < 0.7 else faker.city()
    street = faker.street_address().replace("\n", ", ")
    address = f"{street}, {locality}" if chance.random() < 0.7 else street
    return {"given": given, "surname": surname, "name": f"{given} {surname}", "address": address}


def _fill(language: str, frame: str, values: dict[str, str], lower: bool) -> LabelledText:
    text, truth = "", []
    for part in SLOT.split(frame):
        value = values[part[1:-1]] if SLOT.fullmatch(part) else part
        if value is not part:
            kind = "ADDRESS" if part == "{address}" else "NAME"
            truth.append((kind, len(text), len(text) + len(value)))
        text += value
    lowered = text.lower()
    return LabelledText(language, lowered if lower and len(lowered) == len(text) else text, tuple(truth))


def read_harmless(data: Path) -> tuple[list[LabelledText], list[LabelledText]]:
    """Texts in which nobody is named, to train on and to develop: questions, sentences, harmless messages."""
    training: list[LabelledText] = []
    dev: list[LabelledText] = []
    for language, spec in tomllib.loads(FRAMES.read_text("utf-8")).items():
        training += [LabelledText(language, form) for text in spec["harmless"] for form in (text, text.lower())]
    for split, texts in (("train", training), ("dev", dev)):
        for path in sorted((data / "qa").glob(f"{split}-*.jsonl")):
            documents = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
            published = PublishedText.of(f"{each['title']} | {each['text']}" for each in documents)
            for each in documents:
                texts += [LabelledText(q["language"], q["text"], (), published) for q in each["questions"]]
                if split == "train":
                    lines = [line.strip("#-*>| \t") for line in SENTENCE_END.split(each["text"])][:SENTENCES]
                    texts += [LabelledText(each["language"], line) for line in lines if len(line.split()) > 3]
    for number, line in enumerate((data / "safety" / "messages.jsonl").read_text("utf-8").splitlines()):
        message = json.loads(line)
        if message["label"] not in ("unsafe", "injection", "distress"):
            (dev if number % DEV == 0 else training).append(LabelledText(message["language"], message["text"]))
    return training, dev


def propose(model: PersonModel, labelled: LabelledText, reader: Reader) -> list[Proposal]:
    """The candidates of a text, as the model reads it or as its words alone show it."""
    text = labelled.text
    words = reader(text)
    found = []
    for candidate in find_candidates(text, words, model.columns, read_context(text, words)):
        start, end = words[candidate.first].start, words[candidate.last].end
        is_personal = any(
            kind == candidate.kind and min(end, stop) - max(start, begin) > 0.6 * min(end - start, stop - begin)
            for kind, begin, stop in labelled.truth
        )
        dense, keys = describe(text, words, candidate, model.columns)
        found.append(Proposal(dense, hash_keys(keys), text[start:end], is_personal))
    return found


def may_be_a_person(proposal: Proposal) -> bool:
    """Whether a proposal in a harmless text may be a name after all, as of staff; it is not trained on."""
    return bool(proposal.dense[6] and proposal.dense[1] > 0.9 and proposal.dense[13] > 0.8)


def fit(proposals: Sequence[Proposal], seed: int) -> FloatArray:
    """Weights by Adam (Kingma & Ba, 2015) on the whole of the data, from zero, so the same every time.

    Every proposal counts twice: as it is, and with most of its keys dropped (Srivastava et al., "Dropout", 2014), for
    the frames are few, and their words must not be all that it learns.
    """
    chance = np.random.default_rng(seed)
    width = len(proposals[0].dense)
    dense = np.tile(np.stack([each.dense for each in proposals]), (2, 1))
    keys = [*(each.buckets for each in proposals), *(_dropped(each.buckets, chance) for each in proposals)]
    rows = np.repeat(np.arange(len(keys)), list(map(len, keys)))
    buckets = np.concatenate([np.array(each, np.int64) for each in keys])
    wanted = np.tile(np.array([each.is_personal for each in proposals], np.float32), 2)
    penalty = np.repeat(np.array(PENALTIES, np.float32), (width, BUCKETS))
    weights, mean, square = (np.zeros(width + BUCKETS) for _ in range(3))
    for step in range(1, STEPS + 1):
        scores = dense @ weights[:width] + np.bincount(rows, weights[width:][buckets], len(keys))
        wrong = 1 / (1 + np.exp(-scores)) - wanted
        hashed = np.bincount(buckets, wrong[rows], BUCKETS)
        slope = np.concatenate([wrong @ dense, hashed]) / len(wanted) + penalty * weights
        mean = 0.9 * mean + 0.1 * slope
        square = 0.999 * square + 0.001 * slope * slope
        weights = weights - RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return weights.astype(np.float32)


def _dropped(buckets: Sequence[int], chance: np.random.Generator) -> list[int]:
    return [each for each, number in zip(buckets, chance.random(len(buckets)), strict=True) if number > DROPPED]


class Measured(NamedTuple):
    """A text with its proposals' scores."""

    labelled: LabelledText
    scored: list[tuple[float, Proposal]]

    def is_found(self, threshold: float) -> bool:
        return any(score >= threshold and each.is_personal for score, each in self.scored)

    def alarms(self, threshold: float) -> list[str]:
        found = [each.words for score, each in self.scored if score >= threshold and not each.is_personal]
        return [words for words in found if words not in self.labelled.published]


def measure(weights: FloatArray, texts: Iterable[tuple[LabelledText, list[Proposal]]]) -> list[Measured]:
    measured = []
    for labelled, proposals in texts:
        width = len(weights) - BUCKETS
        scores = [float(each.dense @ weights[:width] + weights[width:][each.buckets].sum()) for each in proposals]
        measured.append(Measured(labelled, list(zip(scores, proposals, strict=True))))
    return measured


def choose_threshold(harmless: Sequence[Measured]) -> float:
    """The lowest score, in steps of a quarter, at which so few harmless texts raise an alarm."""
    for threshold in np.arange(-2, 6, 0.25):
        if sum(bool(each.alarms(float(threshold))) for each in harmless) <= MOST_ALARMS * len(harmless):
            return float(threshold)
    raise SystemExit("no threshold keeps the alarms rare enough")


def summarise(threshold: float, personal: Sequence[Measured], harmless: Sequence[Measured]) -> dict[str, Any]:
    """What is found of whom, and what is taken for a name, by language."""
    rows: dict[str, Any] = {}
    for language in dict.fromkeys(each.labelled.language for each in personal):
        asked = [each for each in personal if each.labelled.language == language]
        quiet = [each for each in harmless if each.labelled.language == language]
        rows[language] = {
            "personal": len(asked),
            "found": sum(each.is_found(threshold) for each in asked),
            "harmless": len(quiet),
            "alarms": sum(bool(each.alarms(threshold)) for each in quiet),
        }
    totals = {name: sum(row[name] for row in rows.values()) for name in ("personal", "found", "harmless", "alarms")}
    return {"threshold": threshold, "languages": rows, "all": totals}


class Trained(NamedTuple):
    """A filter's arrays, what it finds of the development part, and what it takes there for a name."""

    arrays: dict[str, FloatArray]
    figures: dict[str, Any]
    alarms: list[str]


def train(
    propose_in: Callable[[LabelledText], list[Proposal]],
    personal: Sequence[LabelledText],
    training: Sequence[LabelledText],
    dev: Sequence[LabelledText],
    seed: int,
) -> Trained:
    """A filter over the candidates of one reader."""
    cut = len(personal) // DEV
    proposals = [each for labelled in personal[cut:] for each in propose_in(labelled)]
    proposals += [each for one in training for each in propose_in(one) if not may_be_a_person(each)]
    weights = fit(proposals, seed)
    harmless = measure(weights, [(each, propose_in(each)) for each in dev])
    asked = measure(weights, [(each, propose_in(each)) for each in personal[:cut]])
    threshold = choose_threshold(harmless)
    width = len(weights) - BUCKETS
    arrays = {"dense": weights[:width], "hashed": weights[width:], "threshold": np.array([threshold], np.float32)}
    figures = summarise(threshold, asked, harmless)
    return Trained(arrays, figures, [words for each in harmless for words in each.alarms(threshold)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the directory that holds qa and safety")
    parser.add_argument("--model", type=Path, required=True, help="what export.ner built; its filter is not used")
    parser.add_argument("--out", type=Path, default=WEIGHTS / "names")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    model = PersonModel(arguments.model)
    personal = fill_frames(arguments.seed)
    random.Random(arguments.seed).shuffle(personal)
    training, dev = read_harmless(arguments.data)
    parts: dict[str, FloatArray] = {}
    figures: dict[str, Any] = {}
    readers: dict[str, Reader] = {"read": model.read, "words": partial(split_words, labels=model.labels)}
    for name, reader in readers.items():
        made = train(partial(propose, model, reader=reader), personal, training, dev, arguments.seed)
        parts |= {f"{name}.{part}": array for part, array in made.arrays.items()}
        figures[name] = made.figures
        print(name, json.dumps(made.figures, indent=1), made.alarms)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "filter.safetensors").write_bytes(safetensors.numpy.save(parts))
    (arguments.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
