"""What embedding and reader learn from, and what they are chosen on: our own questions, XQuAD crossed, SQuAD 2.0."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

import msgspec

from tidegate.infra.models.data.qa import QaQuestion, QaSet, load_own, load_squad

LANGUAGES = ("en", "de", "es")
"""Those of XQuAD's languages that are ours too."""
ARTICLES = 36
DEV_ARTICLES = 6
"""XQuAD's last articles are kept to choose on."""
SAME = 0.5
"""The share of XQuAD's questions that are asked in the language of their paragraph."""
SQUAD2_FOR_EMBEDDING = 400
SQUAD2_FOR_READER = 1200


class Mixture(msgspec.Struct, frozen=True):
    """`own`: our training questions; `translated`: a question of XQuAD by language; `dev`: sets to choose on."""

    training: QaSet
    own: tuple[QaQuestion, ...]
    translated: tuple[dict[str, QaQuestion], ...]
    squad2: tuple[QaQuestion, ...]
    dev: dict[str, tuple[QaSet, tuple[QaQuestion, ...]]]

    def crossed(self) -> list[QaQuestion]:
        """Each question of XQuAD once, its paragraph in a random language, itself in that or another."""
        return [_cross(each) for each in self.translated]

    def epoch_of_embedding(self) -> list[QaQuestion]:
        """Questions with an answer: all of ours, XQuAD crossed, some of SQuAD 2.0."""
        public = [each for each in self.squad2 if each.gold][::4]
        own = [each for each in self.own if each.gold]
        return own + self.crossed() + random.sample(public, min(SQUAD2_FOR_EMBEDDING, len(public)))

    def epoch_of_reader(self) -> list[QaQuestion]:
        """Questions with and without an answer: all of ours, XQuAD crossed, some of SQuAD 2.0."""
        return [*self.own, *self.crossed(), *random.sample(self.squad2, min(SQUAD2_FOR_READER, len(self.squad2)))]

    def own_units(self) -> list[tuple[str, int]]:
        """The units of our training documents."""
        corpora = {self.training.documents[each.document].corpus for each in self.own}
        return [unit for corpus in sorted(corpora) for unit in self.training.units(corpus)]


def load_mixture(directory: Path) -> Mixture:
    """All of it, from the directory that holds qa, xquad and squad2."""
    own = load_own(directory, "train")
    chosen = load_own(directory, "dev")
    squad2 = load_squad(directory / "squad2" / "train.json", "en")
    training = range(ARTICLES - DEV_ARTICLES)
    xquad = {each: load_squad(directory / "xquad" / f"{each}.json", each, training) for each in LANGUAGES}
    dev = {"own": (chosen, chosen.questions)}
    for each in LANGUAGES:
        held = range(ARTICLES - DEV_ARTICLES, ARTICLES)
        data = load_squad(directory / "xquad" / f"{each}.json", each, held)
        dev[f"xquad-{each}"] = (data, data.questions)
    dev["xquad-de-en"] = (dev["xquad-en"][0], _asked_in("de", dev, "en"))
    documents = own.documents | squad2.documents
    for data in xquad.values():
        documents |= data.documents
    by_id: dict[str, dict[str, QaQuestion]] = defaultdict(dict)
    for language, data in xquad.items():
        for question in data.questions:
            by_id[question.id][language] = question
    return Mixture(QaSet(documents, ()), own.questions, tuple(by_id.values()), squad2.questions, dev)


def _asked_in(language: str, dev: dict[str, tuple[QaSet, tuple[QaQuestion, ...]]], of: str) -> tuple[QaQuestion, ...]:
    """The questions of one language asked of the paragraphs of another."""
    texts = {question.id: question.text for question in dev[f"xquad-{language}"][1]}
    return tuple(
        msgspec.structs.replace(question, text=texts[question.id], language=language, kind="cross_language")
        for question in dev[f"xquad-{of}"][1]
        if question.id in texts
    )


def _cross(translations: dict[str, QaQuestion]) -> QaQuestion:
    languages = sorted(translations)
    of = random.choice(languages)
    asked = of if random.random() < SAME else random.choice(languages)
    return msgspec.structs.replace(translations[of], text=translations[asked].text, language=asked)
