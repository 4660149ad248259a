"""The times that the planner learns: robust, bounded, and the same for the same answers."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.services.planning.answer_class import AnswerClass
from tidegate.services.planning.learned_times import (
    FACTOR,
    KEPT,
    MOST_RATIO,
    NONE,
    SPARE,
    USUAL_MS,
    Correction,
    LearnedTimes,
    ObservedTime,
    SeenTime,
    TimesLine,
    best_factor,
    corrected_ms,
    correction_by,
    correction_of,
    is_good,
    slope_of,
)

CARDS = AnswerClass("cloud", "kiosk", "target@1", "grounded", "cards", 3)
CLOSED_FORM_MS = 1000.0
everywhere = settings(derandomize=True, max_examples=40)
ratios = st.floats(0.01, 100.0)


def learn(learned: LearnedTimes, answers: AnswerClass, ratio: float, known_ms: float = 0.0) -> bool:
    """One answer that took `ratio` times its closed form; whether the forecast for it was good."""
    factor = learned.correction(answers).at(known_ms)
    expected_ms = corrected_ms(known_ms + CLOSED_FORM_MS, known_ms, factor)
    took_ms = known_ms + CLOSED_FORM_MS * ratio
    learned.observe(answers, ObservedTime(known_ms + expected_ms, known_ms + took_ms, known_ms, known_ms, factor))
    return is_good(expected_ms, took_ms)


@given(ratios, st.floats(0, 500))
@everywhere
def test_whatever_the_closed_form_is_wrong_by_one_answer_is_enough_where_all_take_alike(
    ratio: float, known_ms: float
) -> None:
    learned = LearnedTimes()
    good = [learn(learned, CARDS, ratio, known_ms) for _ in range(10)]
    assert all(good[1:])
    if CLOSED_FORM_MS * ratio >= known_ms:
        assert learned.correction(CARDS).factor == pytest.approx(ratio, rel=0.06)


@given(st.lists(st.floats(0.8, 1.25), min_size=2 * KEPT, max_size=2 * KEPT), ratios, st.sampled_from([0.001, 1000.0]))
@everywhere
def test_one_answer_in_sixteen_that_hung_moves_nothing(noise: list[float], ratio: float, outlier: float) -> None:
    learned = LearnedTimes()
    for at, each in enumerate(noise):
        learn(learned, CARDS, ratio * (outlier if at % 16 == 5 else each))
    assert 0.5 <= learned.correction(CARDS).factor / ratio <= 2.0


@given(ratios, ratios)
@everywhere
def test_where_everything_changes_the_forecast_follows_within_half_of_what_is_kept(before: float, now: float) -> None:
    learned = LearnedTimes()
    for _ in range(2 * KEPT):
        learn(learned, CARDS, before)
    good = [learn(learned, CARDS, now) for _ in range(KEPT)]
    assert all(good[KEPT // 2 :])


@given(st.lists(st.tuples(st.sampled_from(["cards", "fees", "loans"]), st.integers(0, 3), ratios), max_size=80))
@everywhere
def test_the_same_answers_teach_the_same_also_after_a_restart(answers: list[tuple[str, int, float]]) -> None:
    through, restarted = LearnedTimes(), LearnedTimes()
    for name, evidence, ratio in answers:
        one = CARDS._replace(name=name, evidence=evidence)
        learn(through, one, ratio)
        learn(restarted, one, ratio)
        kept = msgspec.json.decode(msgspec.json.encode(restarted.lines), type=tuple[TimesLine, ...])
        restarted = LearnedTimes(kept)
        assert restarted.corrections == through.corrections


def worked_out_anew(learned: LearnedTimes) -> dict[AnswerClass, Correction]:
    """The corrections of all classes, each from its times and the wider classes' corrections, the widest first."""
    known: dict[AnswerClass, Correction] = {}
    for line in sorted(learned.lines, key=lambda each: len(each.answers.wider)):
        wider = next((known[each] for each in reversed(line.answers.wider) if each in known), NONE)
        known[line.answers] = correction_by(line.times, wider, is_widest=not line.answers.wider)
    return known


ASKED_FOR = st.tuples(st.sampled_from(["cards", "fees", "loans", ""]), st.integers(0, 2))


@given(
    st.lists(st.tuples(ASKED_FOR, ratios, st.floats(0, 500), st.lists(ASKED_FOR, max_size=2)), max_size=60),
    st.sampled_from([3, 5, 256]),
)
@everywhere
def test_what_is_worked_out_when_asked_for_is_what_all_worked_out_anew_says_also_later(
    answers: list[tuple[tuple[str, int], float, float, list[tuple[str, int]]]], classes: int
) -> None:
    learned, moments = LearnedTimes(classes=classes), []
    for (name, evidence), ratio, known_ms, asked_for in answers:
        learn(learned, CARDS._replace(name=name, evidence=evidence), ratio, known_ms)
        moments.append((learned.corrections, anew := worked_out_anew(learned)))
        for other, band in asked_for:
            one = CARDS._replace(name=other, evidence=band)
            assert learned.correction(one) == correction_of(one, anew)
    for then, anew in moments:  # a snapshot says for ever what it said when it was taken
        assert dict(then) == anew
        assert len(then) == len(anew)


def test_a_class_of_which_nothing_has_changed_is_not_worked_out_again() -> None:
    learned = LearnedTimes()
    for writing in ("grounded", "quote"):
        learn(learned, CARDS._replace(writing=writing), 3.0)
    before = learned.corrections[CARDS]
    learn(learned, CARDS._replace(writing="quote"), 3.0)
    assert learned.corrections[CARDS] is before
    learn(learned, CARDS, 3.0)
    assert learned.corrections[CARDS] is not before


seen_times = st.builds(SeenTime, st.floats(0.01, 100), st.floats(0, 20))


def served(weighted: list[tuple[SeenTime, float]], correction: float) -> float:
    """The weight of what a forecast with this correction would have been good for; double with something to spare."""
    return sum(
        weight
        for seen, weight in weighted
        for factor in (FACTOR, SPARE)
        if 1 / factor <= (seen.known + correction) / (seen.known + seen.ratio) <= factor
    )


@given(st.lists(st.tuples(seen_times, st.floats(0.01, 1)), min_size=1, max_size=24))
@everywhere
def test_no_other_correction_would_have_served_more(weighted: list[tuple[SeenTime, float]]) -> None:
    best = best_factor(weighted)
    edges = [edge for seen, _ in weighted for factor in (FACTOR, SPARE) for edge in (*seen.within(factor), seen.ratio)]
    inside = best * (1 - 1e-9), best, best * (1 + 1e-9)  # an end of a range is in it, but for rounding
    assert max(served(weighted, each) for each in inside) >= max(served(weighted, edge) for edge in edges) - 1e-6


@pytest.mark.parametrize(
    ("ratios_", "known", "factor"),
    [
        pytest.param([1.0] * 5, 0.0, 1.0, id="all alike"),
        pytest.param([1.0, 1.0, 3.0, 3.0], 0.0, 1.7, id="two humps that one forecast serves"),
        pytest.param([1.0, 1.0, 1.0, 9.0, 9.0], 0.0, 1.0, id="two that none serves: the higher"),
        pytest.param([1.0, 1.0, 9.0, 9.0, 9.0], 0.0, 9.0, id="whichever that is"),
        pytest.param([1.0] * 9 + [1000.0], 0.0, 1.0, id="an outlier"),
        pytest.param([4.0] * 9 + [1.0], 0.0, 4.0, id="one that could only just be served too"),
        pytest.param([1.0, 1.0, 9.0, 9.0], 8.0, 3.0, id="where more is known, one serves both again"),
    ],
)
def test_a_forecast_serves_most_of_what_was_seen(ratios_: list[float], known: float, factor: float) -> None:
    weighted = [(SeenTime(ratio, known), 1.0) for ratio in ratios_]
    assert best_factor(weighted) == pytest.approx(factor, rel=0.02)


@given(st.floats(1, 5000), st.floats(0, 5000))
@everywhere
def test_a_link_that_is_measured_too_slow_never_makes_the_rest_vanish(took_ms: float, link_ms: float) -> None:
    seen = ObservedTime(link_ms + 100.0, took_ms, link_ms=link_ms)
    assert seen.ratio >= took_ms / 4 / 100.0 - 1e-9


@pytest.mark.parametrize("weighted", [[], [(SeenTime(1.0), 0.0)]])
def test_there_is_no_best_factor_of_nothing(weighted: list[tuple[SeenTime, float]]) -> None:
    with pytest.raises(ValueError, match="nothing"):
        best_factor(weighted)


@given(
    st.lists(st.floats(0.5, 30), min_size=KEPT, max_size=KEPT), st.sampled_from([0.0, 0.5, 1.0]), st.floats(0.8, 1.25)
)
@everywhere
def test_on_a_machine_that_is_busy_at_times_the_rest_is_forecast_by_how_slowly_the_request_began(
    paces: list[float], slope: float, noise: float
) -> None:
    learned, good = LearnedTimes(), []
    for at, pace in enumerate((*paces, 0.5, 30.0)):
        passed_ms = USUAL_MS * pace
        took_ms = passed_ms + CLOSED_FORM_MS * 3 * pace**slope * (noise if at % 2 else 1.0)
        factor = learned.correction(CARDS).at(passed_ms)
        expected_ms = passed_ms + CLOSED_FORM_MS * factor
        learned.observe(CARDS, ObservedTime(expected_ms, took_ms, passed_ms, 0.0, factor))
        good.append(is_good(expected_ms, took_ms))
    assert 0.0 <= learned.correction(CARDS).slope <= 1.0
    if max(paces) > 8 * min(paces):
        assert learned.correction(CARDS).slope == pytest.approx(slope, abs=0.25)
        assert all(good[-2:])


def test_from_few_answers_or_such_of_one_pace_no_slope_is_concluded() -> None:
    assert slope_of([]) == 0.0
    assert slope_of([SeenTime(2.0 * at, pace=0.5 * at) for at in (1, 2, 4, 8)]) == 0.0
    assert slope_of([SeenTime(1.0 + at, pace=1.0 + at / 1000) for at in range(KEPT)]) == 0.0
    assert slope_of([SeenTime(1.1**at, pace=1.1**at) for at in range(KEPT)]) == pytest.approx(1.0)
    assert slope_of([SeenTime(1.1**-at, pace=1.1**at) for at in range(KEPT)]) == 0.0


def test_a_class_that_was_not_seen_is_taken_as_the_wider_ones_and_its_own_answers_count_more() -> None:
    learned = LearnedTimes()
    for _ in range(20):
        learn(learned, CARDS, 4.0)
    other = CARDS._replace(name="fees")
    assert learned.correction(other).seen == 0
    assert learned.correction(other).factor == pytest.approx(4.0, rel=0.05)
    assert learned.correction(other._replace(evidence=0)).factor == pytest.approx(4.0, rel=0.05)
    for _ in range(20):
        learn(learned, other, 0.5)
    assert learned.correction(other).factor == pytest.approx(0.5, rel=0.05)
    assert learned.correction(CARDS).factor == pytest.approx(4.0, rel=0.05)


@pytest.mark.parametrize(
    "change", [{"tenant": "other"}, {"model": "target@2"}, {"writing": "quote"}, {"where": "edge"}]
)
def test_no_tenant_model_or_way_of_writing_learns_from_another(change: dict[str, str]) -> None:
    learned = LearnedTimes()
    for _ in range(20):
        learn(learned, CARDS, 9.0)
    assert learned.correction(CARDS._replace(**change)).factor == 1.0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "seen",
    [
        ObservedTime(0.0, 100.0),
        ObservedTime(100.0, 0.0),
        ObservedTime(-1.0, 100.0),
        ObservedTime(100.0, math.inf),
        ObservedTime(math.nan, 100.0),
        ObservedTime(100.0, 100.0, factor=0.0),
    ],
)
def test_a_time_that_is_none_teaches_nothing(seen: ObservedTime) -> None:
    learned = LearnedTimes()
    learned.observe(CARDS, seen)
    assert learned.lines == ()


def test_what_is_kept_is_bounded_and_the_longest_unseen_goes_first() -> None:
    learned = LearnedTimes(classes=6)
    names = [f"intent{number}" for number in range(40)]
    for name in names:
        for _ in range(2 * KEPT):
            learn(learned, CARDS._replace(name=name), 1e9)
    assert len(learned.lines) == len(learned.corrections) == 6
    assert {line.answers.name for line in learned.lines} == {"", *names[-4:]}
    assert max(len(line.times) for line in learned.lines) == KEPT
    assert all(correction.factor <= 1.01 * MOST_RATIO for correction in learned.corrections.values())


def test_how_many_forecasts_were_good_is_counted() -> None:
    learned = LearnedTimes()
    good = [learn(learned, CARDS, 50.0) for _ in range(5)]
    [line] = [each for each in learned.lines if each.answers == CARDS]
    assert (line.judged, line.good) == (5, sum(good)) == (5, 4)
