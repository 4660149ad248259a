"""What embedding and reader learn from, and what they are chosen on: our own questions, XQuAD crossed, SQuAD 2.0."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from pathlib import Path

import msgspec

from tidegate.infra.models.data.qa import OWN_PREFIX, QaDocument, QaQuestion, QaSet, load_own, load_squad

LANGUAGES = ("en", "de", "es")
"""Those of XQuAD's languages that are ours too."""
ARTICLES = 36
TRAINING_ARTICLES = 30
"""The rest of XQuAD's articles are kept to choose on."""
HELD_ARTICLES = 3
SAME = 0.5
"""The share of XQuAD's questions that are asked in the language of their paragraph."""
HELD_TOGETHER = 6
"""How many held documents of a file are searched together: as many as a file of dev has."""
SQUAD2_FOR_EMBEDDING = 400
SQUAD2_FOR_READER = 1200


Judged = dict[str, tuple[QaSet, tuple[QaQuestion, ...]]]
"""Sets to measure on, by name: documents and what is asked of them."""


class Mixture(msgspec.Struct, frozen=True):
    """`own`: our training questions; `translated`: a question of XQuAD by language.

    `held` is what neither learns from where it was asked for: on it the weights over their figures are fitted. `dev` is
    what all choices are made on.
    """

    training: QaSet
    own: tuple[QaQuestion, ...]
    translated: tuple[dict[str, QaQuestion], ...]
    squad2: tuple[QaQuestion, ...]
    held: Judged
    dev: Judged

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


def load_mixture(directory: Path, hold_out: bool = False) -> Mixture:
    """All of it, from the directory that holds qa, xquad and squad2; `hold_out` keeps from training a fifth of the
    documents of ours that are kept here."""
    own = load_own(directory, "train")
    kept = _in_small_corpora(QaSet(*_divided(own, held=True)))
    xquad_held = range(TRAINING_ARTICLES - HELD_ARTICLES, TRAINING_ARTICLES)
    held: Judged = {"own": (kept, kept.questions), **_xquad(directory, xquad_held)}
    dev_own = load_own(directory, "dev")
    dev: Judged = {"own": (dev_own, dev_own.questions), **_xquad(directory, range(TRAINING_ARTICLES, ARTICLES))}
    if hold_out:
        own = QaSet(*_divided(own, held=False))
    translated: dict[str, dict[str, QaQuestion]] = defaultdict(dict)
    squad2 = load_squad(directory / "squad2" / "train.json", "en")
    documents = own.documents | squad2.documents
    for language in LANGUAGES:
        articles = range(TRAINING_ARTICLES - HELD_ARTICLES * hold_out)
        data = load_squad(directory / "xquad" / f"{language}.json", language, articles)
        documents |= data.documents
        for question in data.questions:
            translated[question.id][language] = question
    return Mixture(QaSet(documents, ()), own.questions, tuple(translated.values()), squad2.questions, held, dev)


def is_held(document: str) -> bool:
    """Whether a document of ours is one of the fifth of `data/questions` that can be kept from training."""
    return document.startswith(OWN_PREFIX) and int(hashlib.sha256(document.encode()).hexdigest(), 16) % 5 == 0


def _in_small_corpora(data: QaSet) -> QaSet:
    found: dict[str, QaDocument] = {}
    met: Counter[str] = Counter()
    for name, document in data.documents.items():
        corpus = f"{document.corpus}/{met[document.corpus] // HELD_TOGETHER}"
        found[name] = msgspec.structs.replace(document, corpus=corpus)
        met[document.corpus] += 1
    return msgspec.structs.replace(data, documents=found)


def _divided(data: QaSet, held: bool) -> tuple[dict[str, QaDocument], tuple[QaQuestion, ...]]:
    documents = {name: document for name, document in data.documents.items() if is_held(name) == held}
    return documents, tuple(question for question in data.questions if question.document in documents)


def _xquad(directory: Path, articles: range) -> Judged:
    """These articles in each language, and the German questions asked of the English paragraphs."""
    found: Judged = {}
    for language in LANGUAGES:
        data = load_squad(directory / "xquad" / f"{language}.json", language, articles)
        found[f"xquad-{language}"] = (data, data.questions)
    found["xquad-de-en"] = (found["xquad-en"][0], _asked_in("de", found, "en"))
    return found


def _asked_in(language: str, dev: Judged, of: str) -> tuple[QaQuestion, ...]:
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
