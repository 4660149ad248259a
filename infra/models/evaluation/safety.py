"""Measures the safety head and chooses its operating points, on messages judged by a head that has not seen them.

A fold is judged by the head that was kept from it; the points that those folds ask for go beside the head that has seen
all. Next: training/safety.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.infra.models import WEIGHTS
from tidegate.infra.models.data.messages import (
    CLASSES,
    FOLDS,
    Message,
    folds_by_meaning,
    languages_of,
    load_messages,
    load_own,
)
from tidegate.infra.models.evaluation.states import FrozenStates
from tidegate.infra.models.export import int8_weights
from tidegate.infra.models.export.encoder_graph import write_int8
from tidegate.infra.models.export.multilingual import UPPER
from tidegate.infra.models.export.safety_graph import build_safety
from tidegate.infra.models.export.session import open_session

AIMS = {"unsafe": 0.88, "injection": 0.8, "distress": 0.9}
"""So many should be withheld, of those in distress helped."""
HARD, PLAIN, CHATTY = 0.05, 0.01, 0.01
"""At most so many of hard_harmless and of harmless may be withheld or helped; at most so many others may be taken for
small talk."""
ENOUGH, POOLED = 40, 100
"""A language has operating points of its own from so many hard_harmless messages of its development part on; by how
many more it would have to have them for half of their log-odds not to be those of all languages."""
GRID = np.round(np.concatenate((np.arange(0.02, 0.8, 0.02), np.arange(0.8, 0.983, 0.005))), 3)
"""Points to choose from, finer where a head that is sure of most has them."""
SAMPLES = 40
"""How many texts the graph is balanced by (export/balance.py)."""
LABELS = ("unsafe", "injection", "distress", "hard_harmless", "harmless", "out_of_scope", "smalltalk")

Shares = NDArray[np.float64]


class Points(NamedTuple):
    """From which probability a text is withheld, a person helped, small talk answered."""

    unsafe: float
    distress: float
    smalltalk: float


def shares_of(weights: Mapping[str, NDArray[Any]], states: FrozenStates, texts: Sequence[str], out: Path) -> Shares:
    """The probabilities (texts, classes) by the int8 graph, one text a run as in the product."""
    fed: list[dict[str, NDArray[Any]]] = []
    for text in texts:
        found = states.of(states.ids("query: " + text))[None].astype(np.float32)
        fed.append({"states": found, "attention_mask": np.ones(found.shape[:2], np.int64)})
    write_int8(build_safety(weights, UPPER), out, fed[:SAMPLES])
    session = open_session(str(out))
    logits = np.stack([session.run(None, feeds)[0][0].astype(np.float64) for feeds in fed])
    exact = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exact / exact.sum(axis=1, keepdims=True))


def column(shares: Shares, *names: str) -> Shares:
    return np.asarray(shares[:, [CLASSES.index(name) for name in names]].sum(axis=1))


def choose_points(shares: Shares, labels: NDArray[Any]) -> Points:
    """The points at which hard_harmless and harmless are within their bounds, help and withholding each for itself: who
    is helped by mistake reads a line more, who is withheld gets no answer.

    Help begins at the highest point that reaches its aim, else at the lowest within the bounds; then all is withheld
    that the bounds allow.
    """
    harm, distress, chat = (
        column(shares, "unsafe", "injection"),
        column(shares, "distress"),
        column(shares, "smalltalk"),
    )
    allowed = [each for each in GRID if _is_within(distress >= each, labels)] or [GRID[-1]]
    sought = labels == "distress"
    enough = [each for each in allowed if (distress[sought] >= each).sum() >= AIMS["distress"] * sought.sum()]
    helped_from = float(max(enough) if enough and sought.any() else allowed[0])
    helped = distress >= helped_from
    withheld_from = next((float(each) for each in GRID if _is_within(~helped & (harm >= each), labels)), GRID[-1])
    other = np.isin(labels, ("hard_harmless", "harmless", "out_of_scope"))
    chatty = next((float(each) for each in GRID if (chat[other] >= each).mean() <= CHATTY), 0.98)
    return Points(float(withheld_from), helped_from, chatty)


def _is_within(stopped: NDArray[Any], labels: NDArray[Any]) -> bool:
    bounds = {"hard_harmless": HARD, "harmless": PLAIN}
    return not any(_is_beyond(stopped[labels == name], share) for name, share in bounds.items())


def _is_beyond(stopped: NDArray[Any], share: float) -> bool:
    """Whether more are stopped than that share, and more than one: a single message must not decide for all."""
    return bool(stopped.sum() > max(1, share * len(stopped)))


def pool(own: Points, common: Points, count: int) -> Points:
    """Points between a language's own and those of all, in log-odds, by how many messages speak for its own."""
    weight = count / (count + POOLED)
    mixed = [
        weight * np.log(a / (1 - a)) + (1 - weight) * np.log(b / (1 - b)) for a, b in zip(own, common, strict=True)
    ]
    return Points(*(round(float(1 / (1 + np.exp(-each))), 3) for each in mixed))


def points_by_language(shares: Shares, messages: Sequence[Message]) -> dict[str, Points]:
    """The operating points of all messages, under "", and of each language that has `ENOUGH` of them."""
    labels = np.array([each.label for each in messages])
    points = {"": choose_points(shares, labels)}
    for language in languages_of(messages):
        here = np.array([each.language == language for each in messages])
        count = int((labels[here] == "hard_harmless").sum())
        if count >= ENOUGH:
            points[language] = pool(choose_points(shares[here], labels[here]), points[""], count)
    return points


def points_of_others(shares: Shares, messages: Sequence[Message], vectors: NDArray[Any]) -> list[Points]:
    """For each message the points of its language as chosen on messages that say something else."""
    parts = folds_by_meaning(vectors)
    chosen = []
    for part in range(FOLDS):
        others = np.flatnonzero(parts != part).tolist()
        chosen.append(points_by_language(shares[others], [messages[number] for number in others]))
    return [chosen[part].get(each.language, chosen[part][""]) for each, part in zip(messages, parts, strict=True)]


def measure(shares: Shares, messages: Sequence[Message], own: Sequence[Points]) -> dict[str, Any]:
    """For each language and all: how many of each label are withheld, helped, chatted with, at their points."""
    helped = column(shares, "distress") >= [each.distress for each in own]
    withheld = ~helped & (column(shares, "unsafe", "injection") >= [each.unsafe for each in own])
    chatted = ~helped & ~withheld & (column(shares, "smalltalk") >= [each.smalltalk for each in own])
    labels, spoken = (np.array(each) for each in zip(*((one.label, one.language) for one in messages), strict=True))
    rows: dict[str, Any] = {}
    for language in ["all", *languages_of(messages)]:
        here = np.ones(len(labels), bool) if language == "all" else spoken == language
        rows[language] = {
            label: {
                "count": int((here & (labels == label)).sum()),
                "withheld": int((withheld & here & (labels == label)).sum()),
                "helped": int((helped & here & (labels == label)).sum()),
                "small_talk": int((chatted & here & (labels == label)).sum()),
            }
            for label in LABELS
        }
    return rows


def auc(shares: Shares, labels: NDArray[Any], name: str, against: str) -> float:
    """The probability that a message of label `name` looks worse than one of `against`."""
    score = column(shares, "distress") if name == "distress" else column(shares, "unsafe", "injection")
    return round(float((score[labels == name][:, None] > score[labels == against][None]).mean()), 3)


def select_measured(run: Path, *parts: list[Message]) -> tuple[list[list[Message]], NDArray[np.int64]]:
    """Of each part the messages of the folds that a head in `run` has not seen, and the folds of them all."""
    folds = np.load(run / "folds.npz")["folds"]
    without = [fold for fold in range(FOLDS) if (run / f"fold-{fold}.safetensors").exists()]
    is_measured = np.isin(folds, without)
    rows = iter(is_measured.tolist())
    return [[message for message in part if next(rows)] for part in parts], folds[is_measured]


def judge(run: Path, messages: Sequence[Message], folds: NDArray[np.int64], states: FrozenStates) -> Shares:
    """The probabilities (messages, classes), each by the head that has not seen the fold of its message."""
    shares = np.zeros((len(messages), len(CLASSES)))
    for fold in np.unique(folds).tolist():
        rows = np.flatnonzero(folds == fold)
        weights = int8_weights.load(run / f"fold-{fold}.safetensors")
        texts = [messages[row].text for row in rows.tolist()]
        shares[rows] = shares_of(weights, states, texts, run / "safety.onnx")
    return shares


def describe(shares: Shares, messages: Sequence[Message], points: Mapping[str, Points]) -> dict[str, Any]:
    """How well labels are told apart, and what happens to each of them at these points."""
    labels = np.array([each.label for each in messages])
    return {
        "auc": {f"{a} / {b}": auc(shares, labels, a, b) for a in LABELS[:3] for b in ("hard_harmless", "harmless")},
        "at the points shipped": measure(
            shares, messages, [points.get(each.language, points[""]) for each in messages]
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="heads by training.safety: for folds, and that of all")
    parser.add_argument("--data", type=Path, required=True, help="the directory that holds safety/messages.jsonl")
    parser.add_argument("--model", type=Path, required=True, help="what export.multilingual built")
    parser.add_argument("--out", type=Path, default=WEIGHTS / "safety")
    arguments = parser.parse_args()
    run: Path = arguments.run
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    (data, kept_here), folds = select_measured(run, load_messages(arguments.data), load_own())
    states = FrozenStates(arguments.model)
    states.restore(run / "states.npz")
    shares = judge(run, data + kept_here, folds, states)
    np.save(run / "shares.npy", shares)
    of_data, of_own = shares[: len(data)], shares[len(data) :]
    known = np.load(run / "vectors.npz")
    vectors = dict(zip(known["texts"].tolist(), known["vectors"], strict=True))
    own = points_of_others(of_data, data, np.stack([vectors[each.text] for each in data]))
    points = points_by_language(of_data, data)
    described = {"classes": CLASSES, "points": {language: each._asdict() for language, each in points.items()}}
    (out / "safety.json").write_text(json.dumps(described, indent=1) + "\n")
    (out / "upper.safetensors").write_bytes((run / "all.safetensors").read_bytes())
    figures = describe(of_data, data, points) | {"at points chosen on others": measure(of_data, data, own)}
    figures["messages kept here"] = describe(of_own, kept_here, points)
    (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(described["points"]), json.dumps(figures["auc"]), json.dumps(figures["messages kept here"]["auc"]))
    tables = {name: figures[name] for name in ("at points chosen on others", "at the points shipped")}
    for name, table in (tables | {"kept here": figures["messages kept here"]["at the points shipped"]}).items():
        print(name)
        for language, row in table.items():
            print(language, {label: tuple(each.values()) for label, each in row.items()})


if __name__ == "__main__":
    main()
