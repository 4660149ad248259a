"""Messages labelled for the safety head, their split by meaning, other ways to type them. Next: training/safety.py."""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.infra.models.data.qa import TRAIN, own_files

CLASSES = ("harmless", "hard_harmless", "unsafe", "distress", "injection", "out_of_scope", "smalltalk")
ALIKE = 0.55
"""The cosine from which two messages say the same, in whatever language; chosen so that translations fall together."""
FOLDS = 3
OWN = Path(__file__).with_name("safety")
"""Messages kept here: a file for each language, with arrays by label."""
FRAMES = OWN.with_name("safety_frames.toml")
"""What people write around a message, by language; `{}` is the message."""
OPENINGS = OWN.with_name("safety_openings.toml")
"""Other openings of a question, by language."""
LONGEST_FRAMED = 120
SHARE = 0.4
"""How often `retype` does each of its changes."""

Label = Literal["harmless", "hard_harmless", "unsafe", "distress", "injection", "out_of_scope", "smalltalk"]


class Message(msgspec.Struct, frozen=True):
    """A line of safety/messages.jsonl; `hard_harmless` is harmless and looks otherwise."""

    text: str
    language: str
    label: Label
    category: str = ""

    @property
    def row(self) -> int:
        """The class that a head should give it."""
        return CLASSES.index(self.label)


def load_messages(data: Path) -> list[Message]:
    """The messages below `data`, in the order of the file."""
    lines = (data / "safety" / "messages.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Message) for line in lines]


def load_own() -> list[Message]:
    """The messages kept here, in the order of languages; no operating point is chosen on them."""
    return _load_files(OWN)


def load_plain() -> list[Message]:
    """What people ask most of the time, kept here to be learned from only."""
    return _load_files(OWN / "plain")


def _load_files(directory: Path) -> list[Message]:
    found: list[Message] = []
    for path in sorted(directory.glob("*.toml")):
        labelled = tomllib.loads(path.read_text()).items()
        found += [Message(text, path.stem[:2], cast("Label", label)) for label, texts in labelled for text in texts]
    return found


def load_questions(data: Path, count: int, seed: int) -> list[Message]:
    """So many questions to train on about documents, all harmless."""
    found = []
    for path in own_files(data, TRAIN):
        for line in path.read_bytes().splitlines():
            asked = msgspec.json.decode(line)["questions"]
            found += [Message(each["text"], each["language"], "harmless", "qa") for each in asked]
    return random.Random(seed).sample(found, count)


def load_utterances(path: Path, served: int, seed: int) -> list[Message]:
    """The utterances of an intents.yaml by the verdict of their intent; of those that are served only so many."""
    labels = {"serve": "harmless", "distress": "distress", "smalltalk": "smalltalk", "unsafe": "unsafe"}
    found: list[Message] = []
    for intent in msgspec.yaml.decode(path.read_bytes()):
        label = labels.get(intent.get("verdict", "serve"), "out_of_scope")
        found += [Message(text, "", cast("Label", label), intent["id"]) for text in intent["utterances"]]
    kept = [each for each in found if each.label != "harmless"]
    return kept + random.Random(seed).sample([each for each in found if each.label == "harmless"], served)


def folds_by_meaning(vectors: NDArray[Any], seed: int = 0) -> NDArray[np.int64]:
    """A fold for each unit vector: those that lie within `ALIKE` of the first of their group share one."""
    leaders, count = np.empty_like(vectors), 0
    groups = np.zeros(len(vectors), dtype=np.int64)
    for number, vector in enumerate(vectors):
        scores = leaders[:count] @ vector
        if count and scores.max() >= ALIKE:
            groups[number] = int(scores.argmax())
        else:
            groups[number] = count
            leaders[count] = vector
            count += 1
    dealt = np.random.default_rng(seed).integers(FOLDS, size=count)  # so that what is added moves nothing before it
    return np.asarray(dealt[groups], np.int64)


class Split(NamedTuple):
    """What is trained on; what is measured on, of the data and of what is kept here: one fold, or nothing."""

    trained: list[Message]
    data: list[Message]
    own: list[Message]


def split_by_meaning(
    data: Sequence[Message], own: Sequence[Message], other: Sequence[Message], vectors: NDArray[Any], fold: int | None
) -> tuple[Split, NDArray[np.int64]]:
    """Data and own messages but for one fold, and the fold of each of them; the other ones are only trained on.

    What of own and other says the same as a message of the data that is measured on is not trained on either.
    `vectors` are those of data, own and other, one after another.
    """
    folds = folds_by_meaning(vectors[: len(data) + len(own)])
    is_held, is_near = np.zeros(len(vectors), bool), np.zeros(len(vectors), bool)
    if fold is not None:
        is_held[: len(folds)] = folds == fold
        measured = vectors[: len(data)][is_held[: len(data)]]
        is_near[len(data) :] = (vectors[len(data) :] @ measured.T).max(axis=1, initial=-1.0) >= ALIKE
    is_data = np.arange(len(vectors)) < len(data)
    messages = [*data, *own, *other]
    trained, of_data, of_own = (
        [messages[row] for row in np.flatnonzero(rows).tolist()]
        for rows in (~is_held & ~is_near, is_held & is_data, is_held & ~is_data)
    )
    return Split(trained, of_data, of_own), folds


@cache
def load_frames() -> dict[str, list[str]]:
    return tomllib.loads(FRAMES.read_text())


@cache
def load_openings() -> dict[str, list[list[str]]]:
    return tomllib.loads(OPENINGS.read_text())


def reopen(text: str, language: str) -> str:
    """The question with another opening, where one is kept for it; else as it is."""
    for pattern, opening in load_openings().get(language, []):
        text = re.sub(pattern, opening, text, count=1)
    return text


def retype(message: Message, rng: random.Random) -> Message:
    """The message as another might have typed it: small letters, no marks, two letters swapped, a polite frame, a
    question opened otherwise."""
    text = reopen(message.text, message.language) if rng.random() < SHARE else message.text
    frames = load_frames().get(message.language, [])
    if frames and len(text) < LONGEST_FRAMED and rng.random() < SHARE:
        text = rng.choice(frames).format(text)
    if rng.random() < SHARE:
        text = text.lower()
    if rng.random() < SHARE:
        text = "".join(each for each in text if each not in "¿¡?!.,")
    if rng.random() < SHARE and len(text) > 1:
        at = rng.randrange(len(text) - 1)
        text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return msgspec.structs.replace(message, text=text)


def languages_of(messages: Sequence[Message]) -> list[str]:
    """The languages, the most frequent first."""
    counted = [each.language for each in messages]
    return sorted(set(counted), key=lambda language: (-counted.count(language), language))
