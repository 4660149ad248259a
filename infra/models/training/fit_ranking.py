"""Fits the weights over the signals of embedding, words and reader, measures them on dev, and writes both down.

`ranking.json` is what the product multiplies; `figures.json` what the card says. Next: ranking.py.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tidegate.infra.models.data.mixture import Judged, Mixture, load_mixture
from tidegate.infra.models.data.qa import QaQuestion, load_squad
from tidegate.infra.models.evaluation.answering import by_kind_and_language, outcomes, rendered, risk_coverage
from tidegate.infra.models.evaluation.site import Evidence, Models, Site
from tidegate.infra.models.training.ranking import (
    READ_CONFIDENCE,
    READING,
    RETRIEVAL,
    UNREAD_CONFIDENCE,
    describe_all,
    fit_confidence,
    fit_ranking,
    threshold_for,
)
from tidegate.services.knowledge.reader.ranking import Fitted, RankingModel, describe_units

SHARES = (0.05, 0.1, 0.2)
OPERATING = "0.1"
STRANGER_SHARES = (0.02, 0.05)
STRANGERS = 60
STRANGE_ARTICLES = range(3)

WORDS = 0.1
"""What the weight of the question's words in a unit is raised by, in cosines. Our questions for fitting are asked in
other words than the documents far more often than those of a counter are: on the calibration questions of the kiosk it
lifts the first document from .73 to .75, and on dev it changes nothing (.60)."""

Gathered = dict[str, list[Evidence]]


def unread(site: Site, question: QaQuestion) -> Evidence:
    """The signals of all units without a reader."""
    right = tuple(document == question.document and number in question.gold for document, number in site.units)
    return Evidence(question, tuple(site.units), tuple(site.signals(question)), right, bool(question.gold))


def sites(judged: Judged, models: Models) -> dict[str, list[tuple[Site, list[QaQuestion]]]]:
    """For each set its corpora, each with what is asked of it."""
    found: dict[str, list[tuple[Site, list[QaQuestion]]]] = {}
    for name, (data, questions) in judged.items():
        by_corpus: dict[str, list[QaQuestion]] = {}
        for question in questions:
            by_corpus.setdefault(data.documents[question.document].corpus, []).append(question)
        found[name] = [(Site(data, corpus, models), asked) for corpus, asked in by_corpus.items()]
    return found


def gather(judged: Judged, models: Models) -> Gathered:
    """Unread evidence of every question, by set."""
    built = sites(judged, models)
    return {name: [unread(site, each) for site, asked in rows for each in asked] for name, rows in built.items()}


def read_all(judged: Judged, models: Models, ranking: Fitted) -> Gathered:
    """Evidence of every question after the windows that `ranking` puts first were read."""
    found: Gathered = {}
    for name, rows in sites(judged, models).items():
        found[name] = []
        for site, asked in rows:
            for question in asked:
                signals = site.signals(question)
                scores = ranking.score(describe_units(question.text, signals))
                found[name].append(site.read(question, signals, scores))
        print(f"read {name}", flush=True)
    return found


def with_strangers(judged: Judged, data: Path) -> Judged:
    """XQuAD's sets with questions of other articles, which nothing in them answers."""
    found: Judged = {}
    for name, (documents, questions) in judged.items():
        if not name.startswith("xquad-"):
            found[name] = (documents, questions)
            continue
        language = questions[0].language
        strange = load_squad(data / "xquad" / f"{language}.json", language, STRANGE_ARTICLES).questions
        chosen = random.Random(1).sample(strange, STRANGERS)
        home = questions[0].document
        asked = [msgspec.structs.replace(q, kind="impossible_far", document=home, gold=frozenset()) for q in chosen]
        found[name] = (documents, (*questions, *asked))
    return found


def fit(held: Judged, models: Models) -> RankingModel:
    """Both rankings on all the held sets, both confidences on ours, which has near misses."""
    plain = gather(held, models)
    retrieval = weigh_words(fit_ranking(_flat(plain), RETRIEVAL))
    read = read_all(held, models, retrieval)
    reading = weigh_words(fit_ranking(_flat(read), READING))
    unread_confidence = _confidence(retrieval, plain["own"], UNREAD_CONFIDENCE)
    model = RankingModel(retrieval, reading, unread_confidence, _confidence(reading, read["own"], READ_CONFIDENCE))
    return msgspec.structs.replace(
        model,
        thresholds=_thresholds(model, read["own"], "impossible_near", SHARES),
        unread_thresholds=_thresholds(model, plain["own"], "impossible_near", SHARES),
        stranger_thresholds=_thresholds(model, _flat(read), "impossible_far", STRANGER_SHARES),
    )


def measure(model: RankingModel, dev: Judged, models: Models) -> dict[str, Any]:
    """Figures of every set, with and without the reader; XQuAD, whose strangers are far, at their threshold."""
    found: dict[str, Any] = {}
    for name, judged in dev.items():
        plain, read = gather({name: judged}, models), read_all({name: judged}, models, model.unread)
        for way, evidence, threshold in (
            ("retrieval", plain[name], model.unread_thresholds[OPERATING]),
            ("reader", read[name], model.thresholds[OPERATING]),
            ("reader, strangers", read[name], model.stranger_thresholds[str(STRANGER_SHARES[0])]),
        ):
            seen = outcomes(model, evidence)
            rows = by_kind_and_language(seen, threshold)
            found[f"{name}/{way}"] = {"threshold": threshold, "rows": rows, "risk_at_coverage": risk_coverage(seen)}
            print(f"{name}, {way}, threshold {threshold:.3f}\n{rendered(rows)}", flush=True)
            print(f"  risk at coverage {found[f'{name}/{way}']['risk_at_coverage']}", flush=True)
    return found


def weigh_words(ranking: Fitted) -> Fitted:
    """The same ranking, with `WORDS` on top of what was fitted."""
    column = ranking.features.index("coverage")
    weights = list(ranking.weights)
    weights[column] += WORDS * ranking.slope("cosine") * ranking.spread[column]
    return msgspec.structs.replace(ranking, weights=tuple(weights))


def _flat(gathered: Gathered) -> list[Evidence]:
    return [each for rows in gathered.values() for each in rows]


def _confidence(ranking: Fitted, evidence: Sequence[Evidence], features: Sequence[str]) -> Fitted:
    table, right = describe_all(ranking, evidence)
    return fit_confidence(table, right, features)


def _thresholds(
    model: RankingModel, evidence: Sequence[Evidence], kind: str, shares: Sequence[float]
) -> dict[str, float]:
    confidences = np.array([each.confidence for each in outcomes(model, evidence) if each.kind == kind])
    return {str(share): threshold_for(share, confidences) for share in shares}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the directory that holds qa, xquad and squad2")
    parser.add_argument("--model", type=Path, required=True, help="what export.multilingual built, to be measured")
    parser.add_argument("--fit-with", type=Path, help="the same, trained with --hold-out, to fit on; else --model")
    parser.add_argument("--states", type=Path, help="a file in which the states of the frozen layers are kept")
    parser.add_argument("--out", type=Path, required=True, help="where ranking.json and figures.json are written")
    arguments = parser.parse_args()
    mixture: Mixture = load_mixture(arguments.data, hold_out=True)
    fitting = Models(arguments.fit_with or arguments.model)
    if arguments.states:
        fitting.states.restore(arguments.states)
    model = fit(with_strangers(mixture.held, arguments.data), fitting)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "ranking.json").write_bytes(msgspec.json.format(msgspec.json.encode(model), indent=1) + b"\n")
    shipped = Models(arguments.model, states=fitting.states)
    found = measure(model, with_strangers(mixture.dev, arguments.data), shipped)
    if arguments.states:
        shipped.states.save(arguments.states)
    (arguments.out / "figures.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
