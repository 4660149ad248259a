"""How many follow-ups become the question that they stand for, and how many others take up what was said before, by
kind and language: `python -m loadtests.bench.answers_followups DATA`. DATA is JSON Lines of
`{"id", "language", "kind", "messages": [{"role", "content"}], "standalone", "also_ok"}`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec

from loadtests.bench.measure import Bar, Entry, Measurement, Target
from tidegate.schemas import Turn
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.languages.followups import resolve_followup
from tidegate.services.languages.pleasantries import take_pleasantries
from tidegate.services.languages.words import load_words

NAME = "answers_followups"
FILE = Path("dialogues/dev.jsonl")
SAME_FROM = 0.7
"""F1 of the terms that are searched for, from which two questions are taken to find the same."""
BY_THEMSELVES = frozenset({"topic_switch", "already_standalone", "smalltalk"})
"""Kinds of last turns that go on from nothing."""

Resolve = Callable[[str, Sequence[Turn], str], str]


class JudgedTurn(msgspec.Struct, frozen=True):
    """One conversation: as what its last turn was understood, and whether that is what it stands for."""

    id: str
    language: str
    kind: str
    text: str
    is_right: bool
    is_mixed: bool
    took_ms: float


def ours(question: str, history: Sequence[Turn], language: str) -> str:
    """The product's rules."""
    return resolve_followup(question, history, language).text


def as_if_new(question: str, history: Sequence[Turn], language: str) -> str:  # noqa: ARG001 - a side gets all
    """The peer: the last turn alone."""
    return question


def judge(record: dict[str, Any], resolve: Resolve) -> JudgedTurn:
    """Right is a follow-up with the terms of a standalone form, and any other turn as it was written: it is mixed where
    it has a term that it had not."""
    *earlier, last = (Turn(message["role"], message["content"]) for message in record["messages"])
    language, kind = record["language"], record["kind"]
    began_s = time.perf_counter()
    text = resolve(last.text, earlier, language)
    took_ms = (time.perf_counter() - began_s) * 1e3
    found = terms_of(text, language)
    if kind in BY_THEMSELVES:
        is_mixed = bool(found - terms_of(last.text, language))
        left = take_pleasantries(last.text).rest if kind != "smalltalk" else text
        return JudgedTurn(
            record["id"], language, kind, text, not is_mixed and text in (last.text, left), is_mixed, took_ms
        )
    forms = (record["standalone"], *record["also_ok"])
    is_right = max(likeness(found, terms_of(form, language)) for form in forms) >= SAME_FROM
    return JudgedTurn(record["id"], language, kind, text, is_right, False, took_ms)


def terms_of(text: str, language: str) -> frozenset[str]:
    """What is searched for: the stemmed words that a document may have."""
    return frozenset(find_terms(text, language)) - _stop_terms(language)


@cache
def _stop_terms(language: str) -> frozenset[str]:
    return frozenset(find_terms(load_words(language).stop_words, language))


def likeness(found: frozenset[str], wanted: frozenset[str]) -> float:
    """F1 of the terms."""
    return 2 * len(found & wanted) / (len(found) + len(wanted)) if found or wanted else 1.0


def shares(judged: Sequence[JudgedTurn]) -> dict[str, tuple[float, ...]]:
    """Per cent: of all turns right, of follow-ups right, of other turns mixed with what was said before."""
    follow_ups = [each for each in judged if each.kind not in BY_THEMSELVES]
    others = [each for each in judged if each.kind in BY_THEMSELVES]
    return {
        "turns_right": (100 * sum(each.is_right for each in judged) / len(judged),),
        "follow_ups_right": (100 * sum(each.is_right for each in follow_ups) / max(1, len(follow_ups)),),
        "others_mixed": (100 * sum(each.is_mixed for each in others) / max(1, len(others)),),
        "turn_ms": tuple(each.took_ms for each in judged),
    }


async def blocks(data: Path, repeats: int) -> AsyncIterator[Measurement]:
    """Per cent of the turns right, ours and the peer's; the same at every block but for the times."""
    records = read_records(data)
    for _ in range(repeats):
        for side, resolve in (("ours", ours), ("peer", as_if_new)):
            figures = shares([judge(record, resolve) for record in records])
            yield Measurement(side, figures["turns_right"][0], figures)  # type: ignore[arg-type]


def entry(data: Path) -> Entry:
    """The line of the bench over the conversations of one file."""
    return Entry(
        name=NAME,
        unit="% of last turns understood",
        peer_name="the last turn alone",
        target=Target("≥", 1.5),
        blocks=partial(blocks, data),
        bars=(
            Bar(samples="turns_right", quantile=0.0, target=Target("≥", 70), unit="%"),
            Bar(samples="follow_ups_right", quantile=0.0, unit="%"),
            Bar(samples="others_mixed", quantile=1.0, target=Target("≤", 0), unit="%"),
            Bar(samples="turn_ms", quantile=0.95),
        ),
    )


def read_records(path: Path) -> list[dict[str, Any]]:
    """The conversations of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def table_of(judged: Sequence[JudgedTurn]) -> str:
    """Turns right by kind and by language, and the shares."""
    groups: dict[str, list[bool]] = {}
    for each in judged:
        groups.setdefault(each.kind, []).append(each.is_right)
        groups.setdefault(f"language {each.language}", []).append(each.is_right)
    lines = [f"{name:<20}{sum(right):>4} of {len(right):<4}" for name, right in sorted(groups.items())]
    figures = {name: values for name, values in shares(judged).items() if name != "turn_ms"}
    return "\n".join((*lines, *(f"{name:<20}{values[0]:>6.1f} %" for name, values in figures.items())))


def main() -> int:
    """0 when at least 70 % of the turns are understood and no question of its own is mixed with another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--failures", action="store_true", help="print every turn that is not understood")
    given = parser.parse_args()
    judged = [judge(record, ours) for record in read_records(given.data)]
    for each in judged if given.failures else ():
        if not each.is_right:
            print(f"{each.id} {each.language} {each.kind}: {each.text}")
    print(table_of(judged))
    figures = shares(judged)
    return 0 if figures["turns_right"][0] >= 70 and not figures["others_mixed"][0] else 1


if __name__ == "__main__":
    sys.exit(main())
