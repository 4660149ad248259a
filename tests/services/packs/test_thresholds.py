from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.support.small_pack import pack_at
from tidegate.services.packs.load import check_pack, load_pack
from tidegate.services.packs.thresholds import (
    Thresholds,
    ThresholdsNotWrittenError,
    edit_section,
    find_stricter,
    write_thresholds,
)
from tidegate.services.policies.language import load_policies

MADE = Thresholds(threshold=0.713, class_thresholds={"hours": 0.9, "assist": 0.7})


@pytest.mark.parametrize(
    "settings",
    [
        None,
        '[prefilter]\nlanguages = ["en", "de"]\n',
        '[prefilter]\nlanguages = ["en", "de"]\n\n[drafter]  # the edge\nescalate_below = 0.6    # by hand\n'
        "past_answers = 3\n\n[retriever]\nexact_below = 5\n",
        '[drafter]\nescalate_below_for = {hours = 0.1}\n[prefilter]\nlanguages = ["en", "de"]',
    ],
)
def test_what_is_written_is_in_force_and_all_else_stays(tmp_path: Path, settings: str | None) -> None:
    pack = pack_at(tmp_path, **({} if settings is None else {"site.toml": settings}))
    if settings is None:
        (pack / "site.toml").unlink()
    before = tomllib.loads(settings or "")
    for _ in range(2):
        assert write_thresholds(pack, MADE) == ("policies/calibrated.yaml", "site.toml")
    after = tomllib.loads((pack / "site.toml").read_text())
    drafter = after.pop("drafter")
    assert drafter == {
        **before.pop("drafter", {}),
        "escalate_below": 0.713,
        "escalate_below_for": {"hours": 0.9, "assist": 0.7},
    }
    assert after == before
    if settings is not None:
        assert check_pack(pack).faults == ()
    [policy] = [each for each in load_policies(sorted(pack.glob("policies/*.yaml"))) if each.id == "calibrated"]
    assert policy.abstain_thresholds["confidence"][1] == 0.713
    assert {name: each["confidence"][1] for name, each in policy.class_thresholds.items()} == MADE.class_thresholds


@pytest.mark.parametrize("settings", ["drafter = {escalate_below = 0.6}\n", "drafter.past_answers = 3\n", "[drafter\n"])
def test_settings_that_cannot_be_edited_line_by_line_are_left_alone(tmp_path: Path, settings: str) -> None:
    pack = pack_at(tmp_path, **{"site.toml": settings})
    with pytest.raises(ThresholdsNotWrittenError, match=r"site\.toml"):
        write_thresholds(pack, MADE)
    assert (pack / "site.toml").read_text() == settings
    assert not (pack / "policies" / "calibrated.yaml").exists()


def test_a_comment_beside_the_section_is_kept() -> None:
    text = "# mine\n[drafter]\n# why\nescalate_below = 0.1\n"
    assert (
        edit_section(text, "drafter", {"escalate_below": "0.2"}) == "# mine\n[drafter]\nescalate_below = 0.2\n# why\n"
    )


def test_a_policy_that_is_stricter_by_itself_is_named(tmp_path: Path) -> None:
    strict = "policy_id: p1\nallow: [grounded_claims]\nabstain_thresholds: {confidence: 0.8}\n"
    pack = pack_at(tmp_path, **{"policies/safe.yaml": strict})
    write_thresholds(pack, MADE)
    [note] = find_stricter(load_pack(pack).policy_files, MADE)
    assert "safe.yaml" in note
    assert "0.8" in note
