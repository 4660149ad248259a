"""Made-up sentences of plain words and the questions that they answer by their words, in another order.

They carry the general skill: whatever the domain, the sentence that holds the question's words is the one to quote.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tidegate.infra.models.data.domains import values, words

R = random.Random


@dataclass(frozen=True)
class Sentence:
    """A statement, the questions it answers, and the words that a question may be made of."""

    text: str
    questions: tuple[str, ...]
    telling: tuple[str, ...]


def noun(r: R) -> str:
    return r.choice(words.NOUNS) if r.random() < 0.85 else values.syllables(r)


def phrase(r: R) -> tuple[str, list[str]]:
    """A noun phrase and its telling words."""
    head = noun(r)
    if r.random() < 0.65:
        adjective = r.choice(words.ADJECTIVES)
        return f"{adjective} {head}", [adjective, head]
    if r.random() < 0.3:
        proper = values.name(r)
        return f"{proper} {head}", [proper, head]
    return head, [head]


def third(verb: str) -> str:
    """The form for he, she and it."""
    if verb.endswith(("sh", "ch", "x", "ss")):
        return verb + "es"
    return verb[:-1] + "ies" if verb.endswith(("ly", "rry", "fy", "ny", "py")) else verb + "s"


def sentence(r: R) -> Sentence:
    """Somebody does something to something, somewhere or at some time."""
    verb = r.choice(words.VERBS)
    thing, telling = phrase(r)
    someone, who = (values.person(r), True) if r.random() < 0.25 else (None, False)
    if someone is None:
        actor, actor_words = phrase(r)
        someone = f"the {actor}"
    else:
        actor_words = someone.split()[-1:]
    where, when, why = r.choice(words.PLACES), r.choice(words.TIMES), r.choice(words.REASONS)
    tail, asked = r.choice([(where, "Where"), (when, "When"), (why, "Why"), (f"{where} {when}", "When"), ("", "")])
    modal = r.choice(["must", "may", "can", "should", "will", "cannot", ""])
    article = r.choice(["the", "the", "a", "every", "any", "its"])
    core = f"{someone} {modal + ' ' + verb if modal else third(verb)} {article} {thing}"
    text = f"{core} {tail}".strip()
    if tail and r.random() < 0.2:
        text = f"{tail[0].upper()}{tail[1:]}, {core}"
    helper = modal or "does"
    questions = [
        f"What {helper} {someone} {verb}?",
        f"{'Who' if who else 'What'} {modal or 'does'} {verb} {article} {thing}?",
    ]
    if asked:
        questions += [f"{asked} {helper} {someone} {verb} {article} {thing}?"] * 2
    text = text[0].upper() + text[1:] + r.choice([".", ".", ".", "."])
    return Sentence(text, tuple(questions), (*actor_words, verb, *telling))


def existence(r: R) -> Sentence:
    """There is so much of something somewhere."""
    thing, telling = phrase(r)
    other, more = phrase(r)
    value = values.MAKERS[r.choice(["money", "number", "span", "percent", "clock", "date", "weight", "name"])](r)
    form = r.choice(
        [
            f"With the {other}, the {thing} comes to {value}.",
            f"For the {thing} the {other} counts {value}.",
            f"{value[0].upper()}{value[1:]} is stated for the {thing} of the {other}.",
            f"A {thing} with a {other} needs {value}.",
            f"The {other} of the {thing}: {value}.",
            f"Every {thing} has {value} as its {other}.",
        ]
    )
    questions = (
        f"What is stated for the {thing} and the {other}?",
        f"What does the {other} of the {thing} come to?",
        f"Which {other} has the {thing}?",
        f"How much is the {other} for a {thing}?",
        f"What {other} does every {thing} have?",
    )
    return Sentence(form, questions, (*telling, *more))


def mutated(r: R, source: Sentence) -> Sentence:
    """A near miss: the same sentence with one telling word changed."""
    gone = r.choice(source.telling)
    new = r.choice([noun(r), r.choice(words.ADJECTIVES), r.choice(words.VERBS)])

    def swap(text: str) -> str:
        return " ".join(new if part == gone else part for part in text.split(" "))

    return Sentence(swap(source.text), tuple(map(swap, source.questions)), tuple(map(swap, source.telling)))


def make(r: R) -> Sentence:
    return sentence(r) if r.random() < 0.65 else existence(r)


def ask(r: R, source: Sentence) -> str:
    """One of its questions, or some of its words in any order."""
    if r.random() < 0.6:
        return r.choice(source.questions)
    some = r.sample(source.telling, min(len(source.telling), r.randint(2, 4)))
    return r.choice(
        ["{}?", "{}", "What about {}?", "Tell me about {}.", "Information on {} please", "How is it with {}?"]
    ).format(" ".join(some))
