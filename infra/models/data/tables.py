"""Tables: one row a passage, in several notations; the row that is asked for answers."""

from __future__ import annotations

import random

from tidegate.infra.models.data.domains import values, words
from tidegate.infra.models.data.facts import Fact, Pack, filled, variant

R = random.Random


def rows(r: R, pack: Pack) -> tuple[str, list[Fact], int]:
    """A question, the rows of a table, and which row answers."""
    short = [a for a in pack.attributes if a.maker not in ("steps", "action", "thing", "papers")]
    columns = r.sample(short, min(len(short), r.randint(1, 3)))
    named = list(
        dict.fromkeys(
            variant(r, pack, thing) for thing in r.sample(pack.things, r.randint(2, min(8, len(pack.things))))
        )
    )
    style = r.randrange(5)
    if r.random() < 0.15 and pack.native:
        return week(r, r.choice(named), style)
    made = []
    for name in named:
        cells = [values.MAKERS[column.maker](r) for column in columns]
        pairs = [f"{column.name} {cell}" for column, cell in zip(columns, cells, strict=True)]
        title = name[0].upper() + name[1:]
        forms = (
            f"| {title} | {' | '.join(cells)} |",
            f"{title} | {' | '.join(pairs)}",
            f"{title}: {', '.join(pairs)}",
            f"{title}: {'; '.join(cells)}",
            f"Name: {title}; " + "; ".join(f"{c.name.capitalize()}: {v}" for c, v in zip(columns, cells, strict=True)),
        )
        made.append(Fact("", forms[style], name))
    chosen = r.randrange(len(made))
    return filled(r.choice(r.choice(columns).asks), named[chosen], ""), made, chosen


def week(r: R, thing: str, style: int) -> tuple[str, list[Fact], int]:
    """Hours by the day of the week."""
    days = words.DAYS[: r.randint(3, 7)]
    made = []
    for day in days:
        a, b = values.clock(r), values.clock(r)
        form = (
            f"| {day} | {a} | {b} |",
            f"{day} | opens {a} | closes {b}",
            f"{day}: {a} to {b}",
            f"{day}: {a}; {b}",
            f"Day: {day}; Opens: {a}; Closes: {b}",
        )
        made.append(Fact("", form[style], day))
    chosen = r.randrange(len(days))
    asks = (
        "When is the {e} open on {v}?",
        "Until when is the {e} open on {v}?",
        "What are the hours of the {e} on {v}s?",
        "{v} opening hours of the {e}",
        "Is the {e} open on {v}?",
    )
    return filled(r.choice(asks), thing, days[chosen]), made, chosen
