"""How answers of a class may be written follows from all policies in force together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tidegate.schemas import Question
from tidegate.services.policies.language import load_policies
from tidegate.services.policies.node_reader import PolicyError
from tidegate.services.policies.writing import choose_writing, may_be_written

RULES = "allow: [grounded_claims]\n"
FEES = Question(text="What does it cost?", language="en", intent="fees", intent_confidence=0.9)


def policies(folder: Path, *written: str) -> Sequence[object]:
    paths = []
    for number, text in enumerate(written):
        paths.append(folder / f"{number}.yaml")
        paths[-1].write_text(f"policy_id: p{number}\n{RULES}{text}")
    return load_policies(paths)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([""], "quote"),
        (["grounded: [fees]"], "grounded"),
        (["grounded: [assist]"], "grounded"),
        (["grounded: [cards, extract]"], "quote"),
        (["grounded: [fees]", ""], "grounded"),
        (["grounded: [fees]", "grounded: [cards]"], "quote"),
        (["free: [fees]"], "quote"),
        (["free: [fees]\negress: [cards]"], "quote"),
        (["free: [fees]", "egress: [assist]"], "free"),
        (["free: [fees]\ngrounded: [fees]", "egress: [cards]"], "grounded"),
    ],
)
def test_the_freest_way_that_no_policy_forbids_is_taken(tmp_path: Path, written: list[str], expected: str) -> None:
    assert choose_writing(FEES, policies(tmp_path, *written)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([""], False),
        (["grounded: [fees]"], True),
        (["grounded: [assist]", "grounded: [fees]"], True),
        (["grounded: [cards]", "grounded: [fees]"], False),
        (["free: [fees]"], False),
        (["free: [fees]", "egress: [assist]"], True),
        (["grounded: [extract]"], False),
    ],
)
def test_a_pack_lets_a_model_write_where_some_class_may_be_written(
    tmp_path: Path, written: list[str], expected: bool
) -> None:
    assert may_be_written(policies(tmp_path, *written)) is expected  # type: ignore[arg-type]


def test_without_a_policy_answers_are_quoted() -> None:
    assert choose_writing(FEES, ()) == "quote"


def test_the_lists_change_a_policys_version_and_what_was_written_before_keeps_its_own(tmp_path: Path) -> None:
    (plain,) = policies(tmp_path, "")
    versions: Mapping[str, str] = {
        text: policies(tmp_path, text)[0].version  # type: ignore[attr-defined]
        for text in ("grounded: []", "grounded: [fees]", "free: [fees]", "egress: [fees]")
    }
    assert versions["grounded: []"] == plain.version  # type: ignore[attr-defined]
    assert len({*versions.values()}) == len(versions)


def test_what_is_no_list_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r":3: grounded is a list"):
        policies(tmp_path, "grounded: fees")
