"""Made-up values: each maker takes a random source and returns text."""

from __future__ import annotations

import random
from collections.abc import Callable

from tidegate.infra.models.data.domains import words

R = random.Random
Maker = Callable[[R], str]


def syllables(r: R, low: int = 2, high: int = 3) -> str:
    """A word that does not exist."""
    parts = [r.choice(words.ONSETS) + r.choice(words.VOWELS) for _ in range(r.randint(low, high))]
    return "".join(parts)[: r.randint(5, 10)] + (r.choice(words.CODAS) if r.random() < 0.5 else "")


def name(r: R) -> str:
    """A made-up proper name."""
    return syllables(r).capitalize()


def person(r: R) -> str:
    title = r.choice(["", "", "", "Dr ", "Mrs ", "Mr ", "Ms "])
    first = "" if title and r.random() < 0.6 else r.choice(words.FIRST_NAMES) + " "
    return title + first + name(r)


def money(r: R) -> str:
    amount = r.choice(
        [
            f"{r.randint(1, 99)}",
            f"{r.randint(0, 99)}.{r.choice(['00', '20', '50', '75', '90', '95', '99'])}",
            f"{r.randint(1, 99)}{r.choice(['0', '00', '5'])}",
            f"{r.randint(1, 99)},{r.choice(['000', '500', '250'])}",
        ]
    )
    return r.choice(
        ["£{}", "€{}", "${}", "{} euro", "{} euros", "{} pounds", "{} crowns", "EUR {}", "{} francs"]
    ).format(amount)


def number(r: R) -> str:
    return r.choice([str(r.randint(2, 99)), str(r.randint(100, 9999)), r.choice(words.NUMBERS), str(r.randint(2, 20))])


def percent(r: R) -> str:
    amount = r.choice([f"{r.randint(1, 60)}", f"{r.randint(0, 19)}.{r.randint(1, 99)}", f"{r.randint(1, 9)}.5"])
    return amount + r.choice(["%", "%", " per cent", " percent"])


def clock(r: R) -> str:
    hour, minute = r.randint(5, 23), r.choice(["00", "00", "15", "30", "45", "10", "40"])
    return r.choice(
        [f"{hour:02d}:{minute}", f"{hour:02d}:{minute}", f"{hour}:{minute}", f"{(hour - 1) % 12 + 1} o'clock"]
    )


def hours(r: R) -> str:
    low, high = r.randint(5, 11), r.randint(13, 23)
    a, b = f"{low:02d}:{r.choice(['00', '30', '15'])}", f"{high:02d}:{r.choice(['00', '30', '45'])}"
    return r.choice([f"{a} to {b}", f"{a}–{b}", f"{a} until {b}", f"{low} am to {high - 12} pm"])


def span(r: R) -> str:
    unit = r.choice(
        ["days", "weeks", "months", "hours", "minutes", "working days", "business days", "years", "calendar days"]
    )
    return f"{number(r) if r.random() < 0.3 else r.choice([str(r.randint(2, 60)), r.choice(words.NUMBERS)])} {unit}"


def date(r: R) -> str:
    day, month, year = r.randint(1, 28), r.choice(words.MONTHS), r.randint(2015, 2031)
    return r.choice(
        [f"{day} {month}", f"{day} {month} {year}", f"{month} {day}", f"the {day}th of {month}", f"{month} {year}"]
    )


def day(r: R) -> str:
    return r.choice([r.choice(words.DAYS), r.choice(words.DAYS) + "s", " and ".join(r.sample(words.DAYS, 2))])


def phone(r: R) -> str:
    return r.choice(
        [
            f"0{r.randint(10, 99)} {r.randint(1000, 9999)} {r.randint(1000, 9999)}",
            f"0{r.randint(100, 999)} {r.randint(100000, 999999)}",
            f"extension {r.randint(100, 9999)}",
            f"+{r.randint(30, 49)} {r.randint(10, 99)} {r.randint(100, 999)} {r.randint(1000, 9999)}",
        ]
    )


def mail(r: R) -> str:
    return f"{r.choice(['info', 'help', 'desk', 'service', syllables(r)])}@{syllables(r)}.example"


def code(r: R) -> str:
    letters = "".join(r.choice("ABCDEFGHKLMNPRSTUVWXYZ") for _ in range(r.randint(1, 3)))
    return letters + r.choice(["", "-", " ", "/"]) + str(r.randint(10, 99999))


def location(r: R) -> str:
    return r.choice(
        [
            f"{r.randint(1, 199)} {name(r)} {r.choice(words.STREETS)}",
            f"room {r.randint(1, 499)}",
            f"{r.choice(['desk', 'counter', 'gate', 'hall', 'platform', 'window', 'shelf'])} {r.randint(1, 40)}",
            f"the {r.choice(words.ADJECTIVES)} {r.choice(words.NOUNS)} {r.choice(words.PLACES)}",
            f"the {r.choice(words.NOUNS)} in {name(r)}",
            f"{name(r)} {r.choice(['House', 'Hall', 'Centre', 'Tower', 'Park'])}",
        ]
    )


def papers(r: R) -> str:
    one = r.choice(["passport", "identity card", "payslip", "tax number", "driving licence", "medical certificate"])
    other = (
        f"{r.choice(words.ADJECTIVES)} {r.choice(['form', 'receipt', 'photograph', 'letter', 'statement', 'contract'])}"
    )
    return r.choice([f"a {one} and a {other}", f"your {one} and the {other}", f"a {other}", f"the {other} or a {one}"])


def thing(r: R) -> str:
    """A noun phrase of plain words."""
    adjective = f"{r.choice(words.ADJECTIVES)} " if r.random() < 0.6 else ""
    return f"{r.choice(['the ', 'the ', 'a ', 'our ', 'every '])}{adjective}{r.choice(words.NOUNS)}"


def action(r: R) -> str:
    """A verb phrase of plain words."""
    tail = r.choice(["", "", f" {r.choice(words.PLACES)}", f" {r.choice(words.TIMES)}"])
    return f"{r.choice(words.VERBS)} {thing(r)}{tail}"


def steps(r: R) -> str:
    """What to do, in order."""
    many = [action(r) for _ in range(r.randint(1, 3))]
    if len(many) == 3:
        return f"{many[0]}, {many[1]} and {many[2]}"
    return r.choice([" and ", ", then ", " and then "]).join(many)


def weight(r: R) -> str:
    much = r.choice([str(r.randint(1, 90)), f"{r.randint(1, 40)}.{r.randint(1, 9)}"])
    return f"{much} {r.choice(['kg', 'kilograms', 'grams', 'tonnes'])}"


def size(r: R) -> str:
    unit = r.choice(["cm", "m", "mm", "inches"])
    return r.choice([f"{r.randint(5, 200)} {unit}", f"{r.randint(5, 200)} by {r.randint(5, 200)} {unit}"])


def heat(r: R) -> str:
    return f"{r.randint(2, 95)} {r.choice(['degrees', '°C', 'degrees Celsius'])}"


def colour(r: R) -> str:
    return r.choice(
        words.listed("red blue green yellow black white grey orange purple brown silver pink turquoise beige")
    )


def age(r: R) -> str:
    return (
        f"{r.choice([str(r.randint(3, 80)), r.choice(words.NUMBERS)])} {r.choice(['years', 'years old', ''])}".strip()
    )


def language(r: R) -> str:
    return " and ".join(
        r.sample(
            words.listed("English German French Spanish Polish Turkish Arabic Dutch Italian Greek Finnish"),
            r.randint(1, 3),
        )
    )


MAKERS: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        name, person, money, number, percent, clock, hours, span, date, day, phone, mail, code, location, papers, thing,
        action, steps, weight, size, heat, colour, age, language,
    )
}  # fmt: skip
