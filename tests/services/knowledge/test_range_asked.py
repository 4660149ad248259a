"""A question with a number gets the entries whose range holds it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.corpus import document
from tests.support.read_documents import ask_documents

Ask = Callable[..., str]
ZOO = """# Tickets for the zoo

| Visitor | Ticket | Year card |
|---|---|---|
| Child under 4 years | free | free |
| Child 4 to 14 years | 6 euros | 19 euros |
| Adult from 15 years | 11 euros | 38 euros |
| Dog | 3 euros | 10 euros |
"""
LAGER = """# Lagerbox

Tarife der Lagerbox:

- bis 2 Monate: 90 Euro
- bis 6 Monate: 70 Euro
- bis 12 Monate: 55 Euro

## Umzug

| Wohnfläche | Helfer | Preis |
|---|---|---|
| bis 40 m² | 2 | 480 Euro |
| 41 bis 80 m² | 3 | 790 Euro |
| über 80 m² | 4 | 1.150 Euro |
"""


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    answer = ask_documents(
        tmp_path_factory.mktemp("index"),
        document("zoo", ZOO, title="Tickets for the zoo"),
        document("lager", LAGER, title="Lagerbox", language="de"),
    )
    return lambda question, language: answer(question, language).text


@pytest.mark.parametrize(
    ("question", "language", "label"),
    [
        ("How much is a zoo ticket for a child of 3 years?", "en", "Child under 4 years"),
        ("ticket for my daughter (9) for the zoo", "en", "Child 4 to 14 years"),
        ("What does a zoo ticket cost at 15 years?", "en", "Adult from 15 years"),
        ("Was kostet eine Lagerbox für 4 Monate?", "de", "bis 6 Monate"),
        ("lagerbox 10 monate preis", "de", "bis 12 Monate"),
        ("Umzug mit Wohnfläche 60, was kostet das?", "de", "41 bis 80 m²"),
    ],
)
def test_the_entry_is_that_of_the_number(ask: Ask, question: str, language: str, label: str) -> None:
    lines = [line.removeprefix("• ") for line in ask(question, language).splitlines()]
    assert [line for line in lines if line.startswith(label)] == [
        line for line in lines if not line.endswith("Lagerbox:")
    ]


@pytest.mark.parametrize(
    "question",
    [
        "What do all tickets for the zoo cost for 10 people?",
        "What tickets for all visitors does the zoo have, for 3 years and 9 years?",
    ],
)
def test_a_number_of_something_else_and_two_numbers_choose_nothing(ask: Ask, question: str) -> None:
    assert len(ask(question, "en").splitlines()) >= 3
