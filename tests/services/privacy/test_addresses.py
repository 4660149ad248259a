"""Streets with their number, place and postcode are found in nine languages, and what only looks like one is not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.privacy.dlp.addresses import find_addresses

FOUND = (
    ("Please deliver it to {} instead.", "14 Harbour Row, Falmouth TR11 3QA"),
    ("we live at {}, who do I tell?", "Flat 6, Thompson oval"),
    ("Does the guarantee cover {}?", "50869 Harris Springs Suite 727, Matthewport 86144"),
    ("My new address is {}.", "8357 Hunter Station, Aliciahaven, VI 12345"),
    ("Ich wohne in der {}.", "Lindenstraße 12, 50674 Köln"),
    ("Meine Adresse: {}", "Rudolph-Ruppert-Gasse 8/0, 09887 Auerbach"),
    ("ich wohne in der {} und brauche hilfe", "lindenstraße 12a, 50674 köln"),
    ("J'habite au {}.", "32, avenue de Hamel, 68719 Sainte Marthe"),
    ("Livrez au {}, s'il vous plaît.", "rue Bovet, 5635 Chappuis-près-Piccand"),
    ("Vivo en {}.", "Cañada de Herminio Corral 54 Apt. 15, 37463 Lleida"),
    ("Vivo en {}.", "Calle 7 N° 596, 9103 Posadas"),
    ("Abito in {}.", "Viale Notarbartolo, 85, 87015 Cadiroggio"),
    ("Ik woon op {}.", "Lucasring 15, 1234AB Sibculo"),
    ("Mój adres to {}.", "ulica Lipowa 13, 12-345 Bytom"),
    ("Moro em {}.", "Rua de Aníbal, 45, 1234-567 Lisboa"),
    ("Jag bor på {}.", "Kyrkvägen 3, 123 45 Norrköping"),
    ("Is {} within reach?", "SW1A 1AA"),
    ("My post code is {}.", "90210"),
    ("Meine PLZ ist {}.", "1010"),
    ("Mój kod pocztowy to {}.", "00-950"),
)
LEFT_ALONE = (
    "Is the Camden Road branch open at 9?",
    "We waited 20 minutes on the road.",
    "Kann man am Alexanderplatz 90 Minuten parken?",
    "Auf dem Parkplatz 12 steht ein Auto, der Vertrag 2024 liegt bei.",
    "Se puede aparcar en la Plaza Mayor 90 minutos.",
    "The rate is 3.25 % from 12 May 2024, article 4711-08 costs 129.95.",
    "Le forfait coûte 14,90 euros par mois, voie 12, de 8 h à 19 h 30.",
    "Which postcodes do you serve?",
    "Wat betekent storing 208 op de vulmachine?",
    "Numer 20-100 i 12-345 to artykuły.",
    "The bill of 10000 dollars is due in 30 days.",
)


def found_in(text: str) -> list[str]:
    spans = sorted((span.start, -span.end) for span in find_addresses(text))
    return [text[start:-end] for start, end in spans]


@pytest.mark.parametrize(("frame", "address"), FOUND)
def test_an_address_is_found_whole(frame: str, address: str) -> None:
    assert address in found_in(frame.format(address))


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_only_looks_like_an_address_is_left_alone(text: str) -> None:
    assert found_in(text) == []


@given(st.sampled_from(FOUND), st.lists(st.sampled_from([" ", "  ", "\n", "\t"]), min_size=1, max_size=4))
def test_white_space_of_any_kind_hides_no_address(sample: tuple[str, str], blanks: list[str]) -> None:
    frame, address = sample
    numbers = iter(range(len(frame) + len(address)))
    text = re.sub(" ", lambda _: blanks[next(numbers) % len(blanks)], frame.format(address))
    written = "".join(found_in(text))
    assert re.sub(r"\s", "", address) in re.sub(r"\s", "", written)


@given(st.text(alphabet="ABab 12-,./\nstr", max_size=200))
def test_spans_lie_within_the_text(text: str) -> None:
    assert all(0 <= span.start < span.end <= len(text) for span in find_addresses(text))
