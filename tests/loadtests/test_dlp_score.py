"""The bench counts a value as found only where it is covered, and an alarm only where there is nothing to find."""

from __future__ import annotations

import pytest

from loadtests.bench import dlp_score
from loadtests.bench.dlp_score import Counts, Marked
from loadtests.bench.dlp_texts import SLOT, halves
from loadtests.bench.dlp_vs_presidio import ALARMS, group_name, score, split_alarms

ASKED = Marked("de_DE", "de", "plain", "Ann Moor, Ring 5, 50674 Ulm", (("NAME", 0, 8), ("ADDRESS", 10, 27)))
HARMLESS = Marked("en_GB", "en", "plain", "When do you open?", ())


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(0, 8), (10, 27)], {"NAME": 1, "ADDRESS": 1}),
        ([(0, 3), (4, 8), (10, 25)], {"NAME": 1, "ADDRESS": 1}),
        ([(0, 7)], {"NAME": 0, "ADDRESS": 0}),
        ([(10, 16)], {"NAME": 0, "ADDRESS": 0}),
        ([], {"NAME": 0, "ADDRESS": 0}),
    ],
)
def test_a_value_is_found_where_its_letters_are_covered(found: list[tuple[int, int]], expected: dict[str, int]) -> None:
    judged = list(dlp_score.judge([ASKED], [found]))
    assert {kind: dlp_score.count(judged, (kind,)).hits for kind in expected} == expected


def test_counts_are_by_kind_and_locale_and_alarms_are_of_harmless_texts() -> None:
    found = [[(0, 8)], [(0, 4)]]
    judged = list(dlp_score.judge([ASKED, HARMLESS], found))
    assert dlp_score.count(judged) == Counts(1, 2)
    assert dlp_score.count(judged, ("NAME",), ("en_GB",)) == Counts(0, 0)
    assert dlp_score.count_alarms([ASKED, HARMLESS], found) == Counts(1, 1)
    samples = score([ASKED, HARMLESS], found).samples
    assert (samples[group_name("NAME")], samples["ADDRESS de_DE"], samples[ALARMS]) == ((1.0,), (0.0,), (1.0,))


def test_what_the_peer_finds_in_any_text_counts_as_found_and_not_as_an_alarm() -> None:
    everything, alarms = split_alarms([[(0, 8, True), (10, 27, False)], [(0, 4, False)]])
    scored = score([ASKED, HARMLESS], everything, alarms)
    assert (scored.value, scored.samples[ALARMS]) == (1.0, (0.0,))


def test_a_name_is_of_one_half_and_slots_are_split_from_the_text() -> None:
    for name in ("Ann", "Moor", "Okafor", "Vendrig"):
        assert halves("dev")(name) != halves("heldout")(name)
    assert SLOT.split("Ask {name}.") == ["Ask ", "{name}", "."]
