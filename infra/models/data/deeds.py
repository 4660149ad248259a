"""Attributes that no list holds and that are stated and asked for in different forms of one word."""

from __future__ import annotations

import random

from tidegate.infra.models.data.domains import values, words

R = random.Random
Forms = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]

IRREGULAR = frozenset(
    words.listed(
        "admit bring build buy cancel drive find give hide hold keep label lead leave lend pay plan read sell send "
        "show stop take transfer wait withdraw write"
    )
)
REGULAR = tuple(verb for verb in words.VERBS if verb not in IRREGULAR)
DEEDS: dict[str, Forms] = {
    "money": (
        ("{Ing} the {e} costs {v}.", "We {verb} the {e} for {v}.", "You pay {v} for {ing} the {e}."),
        ("{Ing} it costs {v}.", "We {verb} it for {v}."),
        ("What does {ing} the {e} cost?", "How much is it to {verb} the {e}?", "What do I pay for {ing} the {e}?"),
    ),
    "span": (
        ("{Ing} the {e} takes {v}.", "The {e} is {ed} for {v}.", "It takes {v} to {verb} the {e}."),
        ("{Ing} it takes {v}.", "It is {ed} for {v}."),
        ("How long does {ing} the {e} take?", "For how long is the {e} {ed}?", "How long do you {verb} the {e}?"),
    ),
    "person": (
        ("{v} {verbs} the {e}.", "The {e} is {ed} by {v}.", "{v} is there to {verb} the {e}."),
        ("It is {ed} by {v}.", "{v} {verbs} it."),
        ("Who {verbs} the {e}?", "By whom is the {e} {ed}?", "Who is there to {verb} the {e}?"),
    ),
    "steps": (
        ("To {verb} the {e}, {v}.", "When {ing} the {e}, please {v}.", "The {e} is {ed} in this way: {v}."),
        ("To {verb} it, {v}.", "When {ing} it, {v}."),
        ("How is the {e} {ed}?", "What must I do when {ing} the {e}?", "How do I {verb} the {e}?"),
    ),
    "date": (
        ("The {e} is {ed} until {v}.", "We {verb} the {e} on {v}.", "Until {v} you can {verb} the {e}."),
        ("It is {ed} until {v}.", "Until {v} you can {verb} it."),
        ("When do you {verb} the {e}?", "Until when is the {e} {ed}?", "Until when can I {verb} the {e}?"),
    ),
    "thing": (
        ("The {e} is {ed} with {v}.", "We use {v} for {ing} the {e}.", "{v} is needed to {verb} the {e}."),
        ("It is {ed} with {v}.", "We use {v} for {ing} it."),
        ("What is the {e} {ed} with?", "What do you use for {ing} the {e}?", "What is needed to {verb} the {e}?"),
    ),
    "number": (
        ("The {e} is {ed} {v} times.", "{Ing} the {e} is done {v} times.", "We {verb} the {e} {v} times a year."),
        ("It is {ed} {v} times.",),
        ("How many times is the {e} {ed}?", "How often do you {verb} the {e}?", "How often is the {e} {ed}?"),
    ),
    "percent": (
        ("The {e} is {ed} by {v}.", "{Ing} changes the {e} by {v}.", "{v} of the {e} is {ed}."),
        ("It is {ed} by {v}.",),
        ("By how much is the {e} {ed}?", "How much of the {e} is {ed}?", "What share of the {e} is {ed}?"),
    ),
}
MEASURES = (
    ("wide", "width", "size"),
    ("high", "height", "size"),
    ("thick", "thickness", "size"),
    ("broad", "breadth", "size"),
    ("strong", "strength", "number"),
    ("hot", "heat", "heat"),
    ("warm", "warmth", "heat"),
    ("heavy", "weight", "weight"),
    ("old", "age", "span"),
)
MEASURED: Forms = (
    ("The {e} is {v} {adjective}.", "The {noun} of the {e} is {v}.", "With a {noun} of {v}, the {e} fits."),
    ("It is {v} {adjective}.", "Its {noun} is {v}."),
    ("How {adjective} is the {e}?", "What is the {noun} of the {e}?", "Which {noun} does the {e} have?"),
)


def inflected(verb: str) -> dict[str, str]:
    """The forms of a regular verb that the templates name."""
    soft = verb.endswith("y") and verb[-2] not in "aeiou"
    ing = (verb[:-1] if verb.endswith("e") else verb) + "ing"
    ed = verb + "d" if verb.endswith("e") else verb[:-1] + "ied" if soft else verb + "ed"
    hissing = verb.endswith(("sh", "ch", "x", "ss"))
    verbs = verb[:-1] + "ies" if soft else verb + ("es" if hissing else "s")
    return {"verb": verb, "verbs": verbs, "ing": ing, "Ing": ing.capitalize(), "ed": ed}


def completed(forms: Forms, named: dict[str, str]) -> Forms:
    """The templates with everything put in but the thing and the value."""

    def put(template: str) -> str:
        for name, form in named.items():
            template = template.replace(f"{{{name}}}", form)
        return template

    says, after, asks = (tuple(map(put, part)) for part in forms)
    return says, after, asks


def invented(r: R) -> tuple[str, str, Forms]:
    """The name of an attribute, what makes its values, and how it is stated and asked for."""
    if r.random() < 0.2:
        adjective, noun, maker = r.choice(MEASURES)
        return noun, maker, completed(MEASURED, {"adjective": adjective, "noun": noun})
    verb = r.choice(REGULAR) if r.random() < 0.6 else values.syllables(r).rstrip("aeiou") + r.choice("knt")
    maker = r.choice(tuple(DEEDS))
    return f"{verb} {maker}", maker, completed(DEEDS[maker], inflected(verb))
