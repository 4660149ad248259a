"""Days and times whose month, year or zone is told elsewhere in a text, and what is no day though it looks like one."""

from __future__ import annotations

import json

import pytest

from tidegate.services.knowledge.extraction.extraction import extract
from tidegate.services.knowledge.extraction.find import TextValues


@pytest.mark.parametrize(
    ("text", "language", "day"),
    [
        ("Back Friday 16th. Written today, 14 Oct 2026.", "en", "2026-10-16"),
        ("Entrada el 19 de agosto de 2026 y salida el 23, sin desayuno.", "es", "2026-08-23"),
        ("Reçu le 12 mars 2026, retour prévu le 19.", "fr", "2026-03-19"),
        ("Geliefert am 28.05.2026, Rest kommt am 3.", "de", "2026-06-03"),
        ("Thursday 16th? - yes, in July 2026", "en", "2026-07-16"),
        ("Auf der Abrechnung für März 2026 fehlt der 21.3., bitte prüfen", "de", "2026-03-21"),
        ("Plan 2027: Start am 4.2. in Halle 3", "de", "2027-02-04"),
        ("Dates : 4, 5 et 6 mai 2026", "fr", "2026-05-04"),
        ("from 8 to Fri 12 June 2026", "en", "2026-06-08"),
        ("ETD 05-Apr-26 23:00", "en", "2026-04-05"),
        ("Reported 2026/02/11 at six", "en", "2026-02-11"),
    ],
)
def test_a_day_has_the_month_and_the_year_that_are_told_elsewhere(text: str, language: str, day: str) -> None:
    assert day in [each.value for each in TextValues(text, language).dates]


@pytest.mark.parametrize(
    ("text", "language", "days"),
    [
        ("A table for 7 on Saturday 12 December 2026", "en", ["2026-12-12"]),
        ("Fiche, version 3 du 29/01/2026", "fr", ["2026-01-29"]),
        ("Fees so far £2.10. Due 9 Feb 2026", "en", ["2026-02-09"]),
        ("Friday 15th, written 14 Oct 2026", "en", ["2026-10-14"]),  # no month about has a Friday on its 15th
        ("On the 3rd floor of 5 flats", "en", []),
    ],
)
def test_a_number_beside_a_date_is_no_day(text: str, language: str, days: list[str]) -> None:
    assert [each.value for each in TextValues(text, language).dates] == days


def test_a_number_that_could_be_a_day_is_still_a_number() -> None:
    values = TextValues("CACES 1 et 3, pas le 5. Disponible le 15 juin 2026.", "fr")
    assert 5 in [each.value for each in values.numbers]


@pytest.mark.parametrize(
    ("text", "language", "moment"),
    [
        ("abierta 02/12/2026 07:45 (CET) por Abel", "es", "2026-12-02T07:45:00+01:00"),
        ("ouvert le 16/11/2026 à 08:20 (heure de Paris, UTC+1)", "fr", "2026-11-16T08:20:00+01:00"),
        ("gemeldet 11.11.2026 07:58 MEZ", "de", "2026-11-11T07:58:00+01:00"),
        ("on 21 April 2026 it was moved from 07:10 to 09:55 (BST, so UTC+1)", "en", "2026-04-21T09:55:00+01:00"),
        ("opened 2026-03-09 at 07:20 GMT", "en", "2026-03-09T07:20:00Z"),
        ("opened 2026-03-09 at 07:20 (UTC-03:30)", "en", "2026-03-09T07:20:00-03:30"),
        ("opened 2026-03-09 at 07:20 by Freya", "en", "2026-03-09T07:20:00"),
    ],
)
def test_a_moment_has_the_zone_that_is_named_behind_it(text: str, language: str, moment: str) -> None:
    schema = {"type": "object", "properties": {"opened": {"type": "string", "format": "date-time"}}}
    values = TextValues(text, language)
    assert moment in [each.value for each in values._moments()]
    assert json.loads(extract(text, json.dumps(schema), language).text).get("opened", moment) is not None


def test_a_time_by_its_format_has_seconds_and_by_a_pattern_is_as_that_wants_it() -> None:
    properties = {
        "start": {"type": "string", "format": "time"},
        "end": {"type": "string", "pattern": "^\\d{2}:\\d{2}$"},
    }
    answer = extract("Start: 09:30, end: 11:15", json.dumps({"type": "object", "properties": properties}), "en")
    assert json.loads(answer.text) == {"start": "09:30:00", "end": "11:15"}
