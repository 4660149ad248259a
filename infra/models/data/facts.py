"""Facts of a pack: an attribute of a thing with a made-up value, as a statement and as a question."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tidegate.infra.models.data import deeds
from tidegate.infra.models.data.domains import attributes, features, foreign, things, values, words

R = random.Random

CONFLICTS = (
    {"price", "monthly fee", "minimum", "replacement", "deposit", "discount"},
    {"opening hours", "opening", "closing", "start", "weekday", "closed"},
    {"phone", "code", "contact", "mail"},
    {"duration", "processing", "validity", "storage", "return", "interval", "notice", "warranty", "deadline"},
    {"weight", "size"},
    {"includes", "permission", "excludes", "reason", "prohibited", "documents"},
    {"cancel", "apply", "use", "change", "fault", "lost", "documents"},
    {"named", "maker", "since"},
)
INTROS = (
    "The {e} is one of our services.",
    "This section is about the {e}.",
    "Many people ask us about the {e}.",
    "The {e}.",
    "There are some rules for the {e}.",
    "Since last year we have offered the {e}.",
    "Here is what to know about the {e}.",
    "The {e} is for everybody.",
)
LANGUAGES = ("german ", "french ", "spanish ")
OPEN_SAYS = (
    "The {a} of the {e} is {v}.",
    "The {e} has a {a} of {v}.",
    "For the {e} the {a} is {v}.",
    "{v} is the {a} of the {e}.",
    "The {a} for the {e}: {v}.",
    "The {a} of the {e} amounts to {v}.",
)
OPEN_ASKS = (
    "What is the {a} of the {e}?",
    "Which {a} does the {e} have?",
    "What {a} applies to the {e}?",
    "How much is the {a} for the {e}?",
    "Tell me the {a} of the {e}.",
)


@dataclass(frozen=True)
class Attribute:
    name: str
    maker: str
    says: tuple[str, ...]
    after: tuple[str, ...]
    asks: tuple[str, ...]


@dataclass(frozen=True)
class Pack:
    """What one domain talks about; `lexical` is the share of its questions that are plain prose instead."""

    name: str
    things: tuple[str, ...]
    attributes: tuple[Attribute, ...]
    lexical: float = 0.0
    open: float = 0.0
    native: bool = True


@dataclass(frozen=True)
class Fact:
    """A question and the text that answers it; `after` is how it reads behind a sentence that names the thing."""

    question: str
    text: str
    key: str = ""
    thing: str = ""
    after: str = ""
    attribute: Attribute | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", self.text)


def parsed(text: str) -> tuple[Attribute, ...]:
    """The attributes that a text in the notation of `domains/attributes.py` states."""
    found: list[tuple[str, str, dict[str, list[str]]]] = []
    for line in text.strip().splitlines():
        kind, rest = line.split(" ", 1)
        if kind == "@":
            name, maker = rest.rsplit(" ", 1)
            found.append((name, maker, {"S": [], "P": [], "Q": []}))
        else:
            found[-1][2][kind].append(rest)
    return tuple(Attribute(n, m, tuple(k["S"]), tuple(k["P"]), tuple(k["Q"])) for n, m, k in found)


def pack(name: str, listed: str, attributes_text: str) -> Pack:
    return Pack(name, tuple(" ".join(thing.split()) for thing in listed.split(",")), parsed(attributes_text))


def training() -> list[Pack]:
    """The training domains; the foreign ones come rarely."""
    every = parsed(foreign.TEXT)
    english = parsed(attributes.TEXT) + parsed(features.TEXT)
    packs = []
    for line in things.TEXT.strip().replace("\n ", " ").splitlines():
        name, listed = line.split(": ", 1)
        packs.append(Pack(name, tuple(listed.split(", ")), english, lexical=0.3, open=0.45))
    for prefix, things_text in zip(LANGUAGES, (foreign.GERMAN, foreign.FRENCH, foreign.SPANISH), strict=True):
        own = tuple(attribute for attribute in every if attribute.name.startswith(prefix))
        packs.append(Pack(prefix.strip(), tuple(" ".join(x.split()) for x in things_text), own, native=False))
    return packs


def filled(template: str, thing: str, value: str) -> str:
    text = template.replace("{e}", thing).replace("{v}", value)
    return text[0].upper() + text[1:]


def variant(r: R, pack: Pack, thing: str) -> str:
    """The thing, perhaps one of several kinds of it."""
    if not pack.native or r.random() < 0.5:
        return thing
    makers: list[Callable[[R], str]] = [values.name, values.name, values.colour, _adjective]
    return f"{r.choice(makers)(r)} {thing}"


def _adjective(r: R) -> str:
    return r.choice(words.ADJECTIVES)


def invented(r: R) -> Attribute:
    """An attribute that no list holds, named in plain words or after what is done."""
    if r.random() < 0.55:
        name, maker, (says, after, asks) = deeds.invented(r)
        return Attribute(name, maker, says, after, asks)
    parts = [r.choice(words.NOUNS) if r.random() < 0.8 else values.syllables(r)]
    if r.random() < 0.7:
        parts.insert(0, r.choice(words.ADJECTIVES + words.NOUNS))
    name = " ".join(parts)
    makers = ("money", "number", "percent", "span", "clock", "date", "weight", "size", "name", "location", "code")
    maker = r.choice(makers)
    says = tuple(say.replace("{a}", name) for say in OPEN_SAYS)
    return Attribute(name, maker, says, (f"The {name} is {{v}}.",), tuple(q.replace("{a}", name) for q in OPEN_ASKS))


def lowered(text: str) -> str:
    """The text as it goes on behind a comma, unless it begins with a name."""
    common = text.split(" ", 1)[0].lower() in COMMON
    return text[0].lower() + text[1:] if common else text


def decorated(r: R, text: str) -> str:
    """The statement with a circumstance before or behind it that nobody asks for."""
    chance = r.random()
    if chance < 0.10:
        lead = r.choice(
            [r.choice(words.TIMES), r.choice(words.REASONS), f"in {values.name(r)}", f"since {values.date(r)}"]
        )
        return f"{lead[0].upper()}{lead[1:]}, {lowered(text)}"
    if chance < 0.25 and text.endswith("."):
        return f"{text[:-1]} {r.choice([*words.TIMES, *words.REASONS])}."
    if chance < 0.32 and text.endswith("."):
        return f"{text[:-1]}, {r.choice(['and', 'but'])} the {r.choice(words.NOUNS)} is {r.choice(words.ADJECTIVES)}."
    return text


def fact(r: R, pack: Pack, thing: str, attribute: Attribute) -> Fact:
    value = values.MAKERS[attribute.maker](r)
    text = filled(r.choice(attribute.says), thing, value)
    after = filled(r.choice(attribute.after), thing, value) if attribute.after else ""
    if pack.native:
        text = decorated(r, text)
        if r.random() < 0.15:
            own = r.choice(["our", "your", "this"])
            text = re.sub(
                rf"\b([Tt])he {re.escape(thing)}", lambda m: f"{own.capitalize() if m[1] == 'T' else own} {thing}", text
            )
    question = filled(r.choice(attribute.asks), thing, "")
    return Fact(question, text, f"{thing}/{attribute.name}", thing, after, attribute)


def clash(one: Fact, other: Fact) -> bool:
    """Whether both might be taken to answer one question."""
    if one.thing != other.thing:
        return one.thing.endswith(" " + other.thing) or other.thing.endswith(" " + one.thing)
    a, b = (f.attribute.name if f.attribute else "" for f in (one, other))
    return a == b or any(a in group and b in group for group in CONFLICTS)


def attribute_of(r: R, pack: Pack, procedure: bool) -> Attribute:
    if procedure:
        some = [attribute for attribute in pack.attributes if attribute.maker in ("steps", "papers", "action")]
        return r.choice(some or pack.attributes)
    return invented(r) if r.random() < pack.open else r.choice(pack.attributes)


def drawn(r: R, pack: Pack, count: int, procedure: bool = False, absent: bool = False) -> tuple[list[Fact], list[Fact]]:
    """`count` facts to ask for and others, many of them near misses; with `absent`, what is asked for is not there."""
    entity = variant(r, pack, r.choice(pack.things))
    attribute = attribute_of(r, pack, procedure)
    wanted = [fact(r, pack, entity, attribute)]
    while len(wanted) < count:
        near = r.random()
        other = entity if near < 0.4 else variant(r, pack, r.choice(pack.things))
        second = fact(r, pack, other, attribute if near > 0.6 else attribute_of(r, pack, procedure))
        if not clash(wanted[0], second):
            wanted.append(second)
    others: list[Fact] = []
    tries = r.choice([0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 8]) if not absent else r.choice([1, 1, 2, 3, 4, 5, 6])
    for _ in range(tries):
        near, about = r.random(), r.choice(wanted)
        if near < 0.35 and about.attribute:
            head = about.thing.split(" ", 1)[-1] if r.random() < 0.3 and pack.native else r.choice(pack.things)
            new = fact(
                r,
                pack,
                f"{values.name(r)} {head}" if near < 0.1 and pack.native else variant(r, pack, head),
                about.attribute,
            )
        elif near < 0.75:
            new = fact(r, pack, about.thing, attribute_of(r, pack, procedure and near < 0.5))
        else:
            new = fact(r, pack, variant(r, pack, r.choice(pack.things)), attribute_of(r, pack, False))
        if not any(clash(new, old) or new.key == old.key for old in wanted):
            others.append(new)
    if absent and not others:
        return drawn(r, pack, count, procedure, absent)
    return wanted, others


def woven(r: R, first: Fact, mates: list[Fact]) -> list[Fact]:
    """One passage of several sentences, which may name the thing once and then say "it"."""
    if first.after and r.random() < 0.45:
        intro = filled(r.choice(INTROS), first.thing, "")
        same = [replace(mate, text=mate.after) for mate in mates if mate.thing == first.thing and mate.after]
        other = [mate for mate in mates if mate.thing != first.thing or not mate.after]
        body = [replace(first, text=first.after), *same]
        r.shuffle(body)
        return [Fact("", intro, f"intro/{intro}"), *body, *other][:4]
    body = [first, *mates]
    r.shuffle(body)
    return body


COMMON = frozenset(
    [*words.FUNCTION, *words.VERBS, *words.NOUNS, "a", "before", "after", "apply", "replacing", "whoever", "opening"]
)
