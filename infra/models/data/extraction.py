"""Makes texts to extract from, with the schema and the true JSON; values are invented."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tidegate.infra.models.data.domains import records, values, words

R = random.Random
Pair = tuple[str, Any]


@dataclass(frozen=True)
class Record:
    """A schema such as `amount:number city:string?`, a text, and the compact JSON that is true of it."""

    schema: str
    text: str
    json: str

    @property
    def truth(self) -> dict[str, Any]:
        """What `json` says."""
        found: dict[str, Any] = json.loads(self.json)
        return found


@dataclass(frozen=True)
class Field:
    name: str
    type: str
    phrases: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """Where fields come from; `open` is the share of fields whose name is made of plain words."""

    fields: tuple[Field, ...]
    intros: tuple[str, ...]
    open: float


def integer(r: R) -> Pair:
    if r.random() < 0.15:
        position = r.randrange(11)
        return words.NUMBERS[position], position + 2
    many = r.choice([r.randint(1, 20), r.randint(1, 200), r.randint(100, 9999)])
    return (f"{many:,}", many) if many > 999 and r.random() < 0.3 else (str(many), many)


def number(r: R) -> Pair:
    whole = r.choice([r.randint(1, 99), r.randint(1, 2000)])
    cents = r.choice([50, 25, 75, 90, 95, 99, r.randint(1, 99), 0])
    exact = whole + cents / 100
    text = f"{whole}.{cents:02d}"
    return r.choice(["{}", "{}", "£{}", "€{}", "{} euro"]).format(text), exact if cents else whole


def date(r: R) -> Pair:
    day, month, year = r.randint(1, 28), r.randint(1, 12), r.randint(2018, 2031)
    iso = f"{year}-{month:02d}-{day:02d}"
    name = words.MONTHS[month - 1]
    return r.choice([iso, iso, f"{day} {name} {year}", f"{name} {day}, {year}", f"{day:02d}.{month:02d}.{year}"]), iso


def string(r: R) -> Pair:
    maker = r.choice([values.name, values.person, values.colour, values.code, values.mail, values.phone, two])
    text = maker(r)
    return text, text


def two(r: R) -> str:
    return f"{r.choice(words.ADJECTIVES)} {r.choice(words.NOUNS)}"


MAKERS: dict[str, Callable[[R], Pair]] = {"integer": integer, "number": number, "date": date, "string": string}


NAMED: dict[str, Callable[[R], str]] = {
    "city": values.name,
    "customer": values.person,
    "name": values.person,
    "captain": values.person,
    "tenant": values.person,
    "vessel": values.name,
    "orchard": values.name,
    "variety": values.name,
    "reference": values.code,
    "invoice": values.code,
    "phone": values.phone,
    "email": values.mail,
    "product": two,
    "cargo": two,
    "reason": two,
    "colour": values.colour,
    "street": values.location,
}


def named(r: R, source: Source) -> Field:
    """A field of the source, or one named in plain words."""
    if r.random() >= source.open:
        return r.choice(source.fields)
    parts = [r.choice(words.NOUNS) if r.random() < 0.85 else values.syllables(r)]
    if r.random() < 0.4:
        parts.insert(0, r.choice(words.ADJECTIVES))
    label = " ".join(parts)
    kind = r.choice(["string", "string", "integer", "number", "date", "boolean", "enum"])
    if kind == "enum":
        kind = f"enum({'|'.join(r.sample(words.ADJECTIVES, r.randint(2, 4)))})"
    if kind == "boolean":
        return Field("_".join(parts), kind, (f"with {label}/without {label}", f"{label}: yes/{label}: no"))
    phrases = (f"{label} {{v}}", f"{label}: {{v}}", f"the {label} is {{v}}", f"{{v}} as {label}", f"a {label} of {{v}}")
    return Field("_".join(parts), kind, phrases)


def valued(r: R, field: Field) -> Pair:
    """A phrase that states the field, and the value."""
    phrase = r.choice(field.phrases)
    if field.type == "boolean":
        yes, no = phrase.split("/")
        true = r.random() < 0.5
        return (yes if true else no), true
    if field.type.startswith("enum("):
        chosen = r.choice(field.type[5:-1].split("|"))
        return phrase.replace("{v}", chosen), chosen
    maker = NAMED.get(field.name) if r.random() < 0.8 else None
    text, value = (maker(r),) * 2 if maker and field.type == "string" else MAKERS[field.type](r)
    return phrase.replace("{v}", text), value


def state(r: R, source: Source, phrases: list[str]) -> str:
    """The phrases as a text: a sentence, several, or a list."""
    style = r.random()
    if style < 0.25:
        return r.choice(["; ", ", ", "\n"]).join(phrases)
    if style < 0.5:
        return " ".join(phrase[0].upper() + phrase[1:] + "." for phrase in phrases)
    intro = r.choice(source.intros)
    if len(phrases) == 1:
        return f"{intro} {phrases[0]}."
    return f"{intro} {', '.join(phrases[:-1])}{r.choice([' and ', ', '])}{phrases[-1]}."


def record(r: R, source: Source) -> Record:
    """One to five fields, of which those marked `?` may be missing from the text; the text says other things, too."""
    fields: dict[str, Field] = {}
    while len(fields) < (1 if fields and r.random() < 0.12 else 2) or (len(fields) < 5 and r.random() < 0.55):
        field = named(r, source)
        fields[field.name] = field
    truth: dict[str, Any] = {}
    phrases: list[str] = []
    schema: list[str] = []
    for field in fields.values():
        optional = r.random() < 0.3
        schema.append(f"{field.name}:{field.type}{'?' if optional else ''}")
        truth[field.name] = None
        if not optional or r.random() < 0.55:
            phrase, truth[field.name] = valued(r, field)
            phrases.append(phrase)
    for _ in range(r.choice([0, 0, 1, 2])):
        noise = named(r, source)
        if noise.name not in fields:
            phrases.append(valued(r, noise)[0])
    r.shuffle(phrases)
    text = state(r, source, phrases) if phrases else r.choice(source.intros).strip(" :,") + "."
    return Record(" ".join(schema), text, json.dumps(truth, separators=(",", ":"), ensure_ascii=False))


def parsed(text: str) -> tuple[Field, ...]:
    """Fields written as `name type: phrase; phrase`, one a line."""
    found = []
    for line in text.strip().splitlines():
        head, phrases = line.split(": ", 1)
        name, kind = head.split(" ")
        found.append(Field(name, kind, tuple(phrases.split("; "))))
    return tuple(found)


TRAINING = Source(parsed(records.TRAINING), records.TRAINING_INTROS, open=0.45)
HELD_OUT = Source(parsed(records.HELD_OUT), records.HELD_OUT_INTROS, open=0.0)
