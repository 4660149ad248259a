from __future__ import annotations

import random

import pytest

from tidegate.services.knowledge.reader.risk import (
    JudgedAnswer,
    control_risk,
    find_threshold,
    least_questions,
)


def answers(count: int, seed: int) -> list[JudgedAnswer]:
    """Right with the chance that is said, but for a little too much of it."""
    draw = random.Random(seed)
    confidences = [draw.random() for _ in range(count)]
    return [JudgedAnswer(each, draw.random() < 0.9 * each) for each in confidences]


@pytest.mark.parametrize("risk", [0.02, 0.05, 0.2])
def test_new_questions_of_the_same_kind_are_answered_wrongly_no_more_often_than_stated(risk: float) -> None:
    held = []
    for seed in range(2000):
        threshold = find_threshold(answers(100, seed), risk)
        assert threshold is not None
        held.append((1 - threshold) - 0.45 * (1 - threshold**2))  # of all such questions: the integral of 1 - 0.9 u
    mean = sum(held) / len(held)
    assert risk / 2 < mean <= risk * 1.02, "neither broken nor held by answering next to nothing"


def test_a_threshold_is_the_least_that_holds_the_risk_and_is_above_the_first_wrong_one_too_many() -> None:
    made = [JudgedAnswer(0.9123, False), JudgedAnswer(0.5, False), *[JudgedAnswer(0.7, True)] * 97]
    assert find_threshold(made, 0.01) == 0.913
    assert find_threshold(made, 0.02) == 0.501
    assert find_threshold(made, 0.03) == 0.0


def test_nothing_is_promised_of_too_few_questions() -> None:
    for risk in (0.05, 0.1, 0.25):
        few = [JudgedAnswer(0.9, True)] * least_questions(risk)
        assert find_threshold(few, risk) == 0.0
        assert find_threshold(few[1:], risk) is None
    assert least_questions(0.05) == 19


def test_a_group_with_too_few_questions_has_the_threshold_of_all_and_says_so() -> None:
    many, few = answers(200, 1), answers(5, 2)
    whole, large, small = control_risk([*many, *few], {"large": many, "small": few}, 0.05)
    assert (whole.group, whole.from_group, large.from_group) == ("all", "", "")
    assert (small.threshold, small.from_group) == (whole.threshold, "all")
    assert large.threshold == find_threshold(many, 0.05)


def test_a_stricter_group_holds_its_own_risk_and_where_it_is_small_all_questions_do_at_that() -> None:
    many, few = answers(200, 1), answers(5, 2)
    strict = {"large": 0.02, "small": 0.02}
    _, large, small, usual = control_risk([*many, *few], {"large": many, "small": few, "usual": many}, 0.1, strict)
    assert large.threshold == find_threshold(many, 0.02)
    assert (small.threshold, small.from_group) == (find_threshold([*many, *few], 0.02), "all")
    assert usual.threshold == find_threshold(many, 0.1)
    assert (large.threshold or 0.0) > (usual.threshold or 0.0) > 0.0


def test_the_risk_at_a_coverage_is_that_of_the_surest_answers() -> None:
    made = [JudgedAnswer(0.9, True), JudgedAnswer(0.8, True), JudgedAnswer(0.3, False), JudgedAnswer(0.2, False)]
    [row] = control_risk([*made, JudgedAnswer(0.1, False)], {}, 0.2)
    assert row.risk_at_coverage == pytest.approx((0.0, 0.0, 1 / 3, 0.5))
    assert (row.right, row.threshold, row.answered, row.wrong) == (0.4, 0.301, 0.4, 0.0)
