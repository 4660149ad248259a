"""Whether the verifier's entailment can say no: `python -m loadtests.bench.verifier_entailment [--documents N]`.

Held-out documents, which neither taught the weights nor chose their threshold; each sentence as it stands, rewritten,
and with one fault. The peer is what the check was before: the share of a sentence's terms that its evidence holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

import click

from loadtests.bench.measure import Bar, Entry, Measurement, Target
from tidegate.infra.models.data.entailment import EntailmentPair, load_pairs
from tidegate.infra.models.training.entailment import rates_of
from tidegate.services.answering.sentence_check import check_sentence, describe_claim
from tidegate.services.cli.terminal import echo

DOCUMENTS = 50
BORNE_OUT_FROM = 0.85
"""Share of its terms from which a sentence was borne out before."""


def judge(pairs: Sequence[EntailmentPair]) -> list[bool]:
    """Which of them the check refuses."""
    return [not check_sentence(pair.sentence, pair.evidence, pair.question).passed for pair in pairs]


def say_wrongly(pairs: Sequence[EntailmentPair]) -> float:
    """The share of the wrong yes and no that would be said: neither refused nor left out of the answer."""
    found = [check_sentence(each.sentence, each.evidence, each.question) for each in pairs if each.kind == "yes_no"]
    return sum(each.passed and not each.doubtful.says for each in found) / max(1, len(found))


def judge_by_terms(pairs: Sequence[EntailmentPair]) -> list[bool]:
    """Which of them the share of terms alone refuses."""
    rows = [describe_claim(pair.sentence, pair.evidence, pair.question).row for pair in pairs]
    return [row["borne_out"] < BORNE_OUT_FROM for row in rows]


async def blocks(repeats: int, documents: int = DOCUMENTS) -> AsyncIterator[Measurement]:
    """Each block takes every `repeats`-th pair of the held-out documents."""
    pairs = load_pairs("heldout", documents)
    for at in range(repeats):
        part = pairs[at::repeats]
        for side, verdict in (("ours", judge), ("peer", judge_by_terms)):
            caught, refused = rates_of(part, verdict(part))
            plain = [share for kind, share in refused.items() if kind in ("verbatim", "rewritten")]
            samples = {
                "supported refused": tuple(plain),
                "supported refused, of answers in other words": (refused.get("answered", 0.0),),
                **{f"caught: {kind}": (share,) for kind, share in caught.items()},
            }
            yield Measurement("ours" if side == "ours" else "peer", caught["all"], samples)


KINDS = (
    "number", "other_number", "swapped_numbers", "unit", "date", "denied", "asserted", "modality", "comparison",
    "scope", "entity", "swapped_entities", "passage", "yes_no",
)  # fmt: skip

VERIFIER_ENTAILMENT = Entry(
    name="verifier_entailment",
    unit="share of sentences planted wrong that are caught",
    peer_name="the share of a sentence's terms that its evidence holds",
    target=Target("≥", 1.5),
    blocks=partial(blocks),
    bars=(
        Bar(samples="caught: all", quantile=0.5, unit="", target=Target("≥", 0.95)),
        Bar(samples="supported refused", quantile=0.5, unit="", target=Target("≤", 0.03)),
        Bar(samples="supported refused, of answers in other words", quantile=0.5, unit=""),
        *(Bar(samples=f"caught: {kind}", quantile=0.5, unit="") for kind in KINDS),
    ),
)


@click.command()
@click.option("--documents", default=DOCUMENTS, show_default=True, type=click.IntRange(1))
def main(documents: int) -> None:
    """Print the shares by kind of fault, of us and of terms alone."""
    pairs = load_pairs("heldout", documents)
    ours, peer = rates_of(pairs, judge(pairs)), rates_of(pairs, judge_by_terms(pairs))
    for title, mine, theirs in (("caught", ours[0], peer[0]), ("refused though supported", ours[1], peer[1])):
        echo(f"{title} ({len(pairs)} pairs of {documents} documents): ours, terms alone")
        for kind in sorted(mine):
            echo(f"  {kind:<18} {mine[kind]:7.1%} {theirs[kind]:7.1%}")
    echo(f"a wrong yes or no that a model's answer would begin with: {say_wrongly(pairs):.1%}")


if __name__ == "__main__":
    main()
