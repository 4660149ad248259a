"""A tenant's own patterns are found in linear time, through layout and encodings; a wrong one is named at load."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.privacy.dlp.tenant_patterns import TenantPatternError, TenantPatterns
from tidegate.services.privacy.transducer import StreamScreen

OWN = Detector(("GB",), patterns={"meter": r"\bMTR-[A-Z]{2}[0-9]{4}\b", "staff": "(?i)emp[0-9]{3}"})


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Meter MTR-AB1234 and EMP042.", ["MTR-AB1234", "EMP042"]),
        ("Meter \uff2dTR-AB\u200b1234", ["\uff2dTR-AB\u200b1234"]),
        ("u=MTR%2DAB1234", ["MTR%2DAB1234"]),
        ("MTR-AB12345 and mtr-ab1234", []),
    ],
)
def test_own_patterns_are_found_as_rules_are(text: str, values: list[str]) -> None:
    assert [(each.kind, each.value) for each in OWN.find(text)] == [("TENANT", value) for value in values]
    assert Detector(("GB",)).find(text) == []


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "missing"),
        ("(?=a)b", "perl operator"),
        (r"(a)\1", "escape"),
        ("(?:a{1000}){1000}", "repetition"),
        (r"(?:\pL{200}){5}", "large"),
        ("a*", "nothing at all"),
        ("MTR 1", "a blank"),
        ("a" * 513, "513 characters"),
    ],
)
def test_a_wrong_pattern_is_named_with_its_fault_when_it_is_loaded(pattern: str, reason: str) -> None:
    with pytest.raises(TenantPatternError, match=f"(?s)bad.*{reason}"):
        TenantPatterns({"good": "a+b", "bad": pattern})


def test_too_many_patterns_are_refused_and_the_version_tells_of_them() -> None:
    with pytest.raises(TenantPatternError, match="65"):
        TenantPatterns({f"p{number}": "ab" for number in range(65)})
    assert OWN.version != Detector(("GB",)).version


def test_a_pattern_that_backtracks_for_ever_elsewhere_is_linear_here() -> None:
    patterns = TenantPatterns({"slow": "(?:a|a|aa)+b"})
    began_s = time.process_time()
    assert list(patterns.find("a" * 8000)) == []
    assert time.process_time() - began_s < 5  # a backtracking engine needs longer than there is


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    parts=st.lists(
        st.sampled_from(["MTR-AB1234", "EMP0", "42", "meter", "MTR", "-AB", "1234", ".", "\n", " "]), max_size=9
    ),
    cuts=st.lists(st.integers(0, 60), max_size=6),
)
def test_in_a_stream_they_are_the_same_however_it_is_cut(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts)
    screen = StreamScreen(OWN.find, lambda found: f"[{found.kind}]")
    edges = sorted({0, len(text), *(each for each in cuts if each < len(text))})
    out = "".join(screen.feed(text[start:end]) for start, end in pairwise(edges)) + screen.finish()
    whole = text
    for found in sorted(OWN.find(text), key=lambda each: -each.start):
        whole = f"{whole[: found.start]}[{found.kind}]{whole[found.end :]}"
    assert out == whole
