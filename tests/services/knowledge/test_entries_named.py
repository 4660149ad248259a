"""A question that names several entries of a table or a list is answered by each of them, and by no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.corpus import document
from tests.support.read_documents import ask_documents

Ask = Callable[..., str]
LAUNDRY = """# Waschsalon

| Leistung | Preis | Dauer |
|---|---|---|
| Hemd | 2,40 € | 1 Tag |
| Bettdecke | 11,90 € | 3 Tage |
| Vorhang | 7,20 € | 2 Tage |
| Teppich klein | 19,00 € | 5 Tage |
| Teppich gross | 34,00 € | 5 Tage |
"""
WORKSHOP = """# Bicycle workshop

What the workshop charges:

- Puncture: 9 euros
- Brake pads: 14 euros
- New chain: 22 euros
- Spoke: 12 euros
- Bell or lamp: 5 euros
- Rust found and removed: 3 euros
"""


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    answer = ask_documents(
        tmp_path_factory.mktemp("index"),
        document("salon", LAUNDRY, title="Waschsalon", language="de"),
        document("workshop", WORKSHOP, title="Bicycle workshop"),
    )
    return lambda question, language: answer(question, language).text


@pytest.mark.parametrize(
    ("question", "language", "labels"),
    [
        ("Was kostet ein Hemd und ein Vorhang?", "de", ["Hemd", "Vorhang"]),
        ("Was ist teurer, eine Bettdecke oder ein Vorhang?", "de", ["Bettdecke", "Vorhang"]),
        ("was kostet ein kleiner teppich und ein grosser teppich", "de", ["Teppich klein", "Teppich gross"]),
        ("Was kosten ein Hemd und ein Teppich?", "de", ["Hemd", "Teppich klein", "Teppich gross"]),
        ("was kostet ein kleiner teppich und ein hemd", "de", ["Hemd", "Teppich klein"]),
        ("Was kostet ein Hemd, das am Vorhang hing?", "de", ["Hemd"]),
        ("Was kostet ein Hemd pro Woche und Person?", "de", ["Hemd"]),
        (
            "Alle Leistungen und Preise, nicht nur Hemd",
            "de",
            ["Hemd", "Bettdecke", "Vorhang", "Teppich klein", "Teppich gross"],
        ),
        ("On a bicycle with a new chain, what does a bell or lamp cost?", "en", ["Bell or lamp"]),
        ("What does a bell or lamp that was found cost?", "en", ["Bell or lamp"]),
        ("How much are a spoke and a new chain?", "en", ["New chain", "Spoke"]),
    ],
)
def test_each_entry_that_is_named_is_in_the_answer(ask: Ask, question: str, language: str, labels: list[str]) -> None:
    lines = [line for line in ask(question, language).splitlines() if "charges" not in line]
    assert [line.removeprefix("• ").replace(" –", ":").partition(":")[0] for line in lines] == labels
