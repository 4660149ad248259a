"""How a question is put: two in one, as somebody types it, with words that do not exist."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from tidegate.infra.models.data.domains import values, words
from tidegate.infra.models.data.facts import Fact, filled

R = random.Random

GREETINGS = ("Hello", "Hi", "Good morning", "Please tell me", "Quick question", "I would like to know")
STOP = set(
    words.listed("the a an of is are do does for to i my in at what how which much many it on must can be with there")
)


def joined(r: R, wanted: list[Fact]) -> str:
    """One question for two facts."""
    one, two = wanted
    if one.attribute and one.attribute is two.attribute and one.thing != two.thing and r.random() < 0.7:
        pair = r.choice(["{} and the {}", "{} and of the {}", "{} and for the {}", "{} and {}"]).format(
            one.thing, two.thing
        )
        return filled(r.choice(one.attribute.asks), pair, "")
    second = two.question[0].lower() + two.question[1:]
    if one.thing == two.thing and r.random() < 0.3:
        second = second.replace(f"the {two.thing}", "it")
    head = one.question.rstrip("?. ")
    return r.choice(
        [f"{head} and {second}", f"{head}, and {second}", f"{head}? And {second}", f"{one.question} {two.question}"]
    )


def voiced(r: R, question: str) -> str:
    """The question as somebody might type it."""
    chance = r.random()
    if chance < 0.06:
        return question.lower()
    if chance < 0.12:
        kept = [word for word in question.rstrip("?. ").split() if word.lower() not in STOP]
        return " ".join(kept) if len(kept) > 1 else question
    low = question[0].lower() + question[1:]
    if chance < 0.16:
        return f"{r.choice(GREETINGS)}, {low}"
    if chance < 0.19:
        return f"I am {values.person(r)}. {question}"
    if chance < 0.22:
        return question.rstrip("?. ") + r.choice(["", " please?", ", please"])
    return question


def substitution(word: str, new: str) -> Callable[[str], str]:
    """Replaces a word wherever it stands alone, keeping a capital."""
    pattern = re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE)
    return lambda text: pattern.sub(lambda found: new.capitalize() if found[0][0].isupper() else new, text)
