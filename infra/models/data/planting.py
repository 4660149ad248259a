"""Plants one fault in a true sentence, and rewrites sentences so that they stay true. Next: planted.toml, the words."""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tidegate.services.knowledge.index.keyword import find_terms

NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_NAME = re.compile(r"(?<=[^\s.!?:;]\s)([A-ZÀ-Þ][\w’'-]{2,})")


class PlantedWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One language's words; pairs are exchanged, the first for the second."""

    negatable: tuple[str, ...]
    """Verbs that the denial stands behind (in Spanish before)."""
    denial: str
    denials: tuple[str, ...]
    units: tuple[tuple[str, str], ...]
    modality: tuple[tuple[str, str], ...]
    comparison: tuple[tuple[str, str], ...]
    scope: tuple[tuple[str, str], ...]
    days: tuple[str, ...]
    months: tuple[str, ...]
    yes: str
    no: str
    numbers: dict[str, str]


def _load() -> dict[str, PlantedWords]:
    text = Path(__file__).with_name("planted.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, PlantedWords])


PLANTED = _load()


def plant(
    sentence: str, evidence: str, others: Sequence[str], language: str, dice: random.Random
) -> Iterator[tuple[str, str]]:
    """The sentence with one fault, once for each kind that it has room for: (kind, sentence)."""
    words = PLANTED[language]
    yield from _numbers(sentence, evidence, others, dice)
    yield from _negation(sentence, words, language)
    for kind, pairs in (
        ("unit", words.units),
        ("modality", words.modality),
        ("comparison", words.comparison),
        ("scope", words.scope),
    ):
        found = [made for pair in pairs for made in _exchange(sentence, *pair, is_unit=kind == "unit")]
        if found:
            yield kind, dice.choice(found)
    yield from _dates(sentence, evidence, words, dice)
    yield from _names(sentence, evidence, others, language, dice)
    yield from _lead(sentence, words)
    distinct = [each for each in others if len(each.split()) > 4 and each[-1] in ".!?"]
    if distinct:
        yield "passage", dice.choice(distinct)


def rewrite(sentence: str, language: str, dice: random.Random) -> Iterator[str]:
    """The sentence said otherwise: numbers spelled otherwise, a clause left out, clauses in another order, a yes or a
    no before it."""
    words = PLANTED[language]
    clauses = re.split(r"; ", sentence.rstrip("."))
    if len(clauses) > 1 and all(len(each.split()) > 3 for each in clauses):
        yield "; ".join(reversed(clauses)) + "."
        yield dice.choice(clauses) + "."
    bare = re.sub(r"\s*\([^()]*\)", "", sentence)
    if bare != sentence:
        yield bare
    spelled = {**{digit: word for word, digit in words.numbers.items()}, **words.numbers}
    respelled = re.sub(r"(?<![\w.,:])(\w+)\b(?![.,:\s]?\d)", lambda found: spelled.get(found[1], found[1]), sentence)
    if respelled != sentence:
        yield respelled
    if not re.search(rf"\b({'|'.join(each.strip() for each in words.denials)})\b", sentence):
        yield words.yes + sentence


def _numbers(sentence: str, evidence: str, others: Sequence[str], dice: random.Random) -> Iterator[tuple[str, str]]:
    places = list(NUMBER.finditer(sentence))
    if not places:
        return
    at = dice.choice(places)
    changed = str(int(re.sub(r"\D", "", at[0])) + dice.randint(1, 9))
    if changed not in NUMBER.findall(evidence):
        yield "number", sentence[: at.start()] + changed + sentence[at.end() :]
    rivals = [each for text in (evidence, *others) for each in NUMBER.findall(text)]
    rivals = [each for each in rivals if each not in NUMBER.findall(sentence)]
    if rivals:
        yield "other_number", sentence[: at.start()] + dice.choice(rivals) + sentence[at.end() :]
    if len({each[0] for each in places}) > 1:
        first, *_, last = places
        middle = sentence[first.end() : last.start()]
        if first[0] != last[0] and re.search(r"[^\W\d]", middle):
            yield "swapped_numbers", sentence[: first.start()] + last[0] + middle + first[0] + sentence[last.end() :]


def _negation(sentence: str, words: PlantedWords, language: str) -> Iterator[tuple[str, str]]:
    verb = re.search(rf"\b({'|'.join(words.negatable)})\b", sentence)
    if verb and not any(f" {each}" in sentence[verb.end() : verb.end() + 9] for each in words.denials):
        if language == "es":
            if not sentence[: verb.start()].endswith("no "):
                yield "denied", f"{sentence[: verb.start()]}{words.denial} {sentence[verb.start() :]}"
        else:
            yield "denied", f"{sentence[: verb.end()]} {words.denial}{sentence[verb.end() :]}"
    stated = re.search(rf"\b({'|'.join(words.denials)})", sentence, re.IGNORECASE)
    if stated and stated.start():
        yield "asserted", sentence[: stated.start()] + sentence[stated.end() :]


def _lead(sentence: str, words: PlantedWords) -> Iterator[tuple[str, str]]:
    for one, other in ((words.yes, words.no), (words.no, words.yes)):
        if sentence.startswith(one):
            yield "yes_no", other + sentence.removeprefix(one)


def _exchange(sentence: str, one: str, other: str, *, is_unit: bool) -> Iterator[str]:
    """Where a word stands; a unit only beside a number."""
    word = re.escape(one)
    bounds = (r"(?<!\w)", r"(?!\w)")
    for found in re.finditer(rf"{bounds[0]}{word}{bounds[1]}" if one[0].isalpha() else word, sentence):
        near = sentence[max(0, found.start() - 12) : found.end() + 4]
        if not is_unit or re.search(r"\d", near):
            yield sentence[: found.start()] + other + sentence[found.end() :]


def _dates(sentence: str, evidence: str, words: PlantedWords, dice: random.Random) -> Iterator[tuple[str, str]]:
    for names in (words.days, words.months):
        for name in names:
            if found := re.search(rf"\b{name}\b", sentence):
                other = dice.choice([each for each in names if each.lower() not in evidence.lower()] or [""])
                if other:
                    yield "date", sentence[: found.start()] + other + sentence[found.end() :]
                    return


def _names(
    sentence: str, evidence: str, others: Sequence[str], language: str, dice: random.Random
) -> Iterator[tuple[str, str]]:
    mine = [found for found in _NAME.finditer(sentence) if find_terms(found[1], language)]
    if not mine:
        return
    at = dice.choice(mine)
    held = {each[:4].lower() for each in re.findall(r"\w+", evidence)}
    far = [each for text in others for each in _NAME.findall(text) if each[:4].lower() not in held]
    far = [each for each in far if find_terms(each, language)]
    if far:
        yield "entity", sentence[: at.start()] + dice.choice(far) + sentence[at.end() :]
    if len(mine) > 1 and mine[0][0] != mine[-1][0]:
        first, last = mine[0], mine[-1]
        middle = sentence[first.end() : last.start()]
        yield "swapped_entities", sentence[: first.start()] + last[0] + middle + first[0] + sentence[last.end() :]
