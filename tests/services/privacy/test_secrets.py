"""Secrets are found by their form or the word before them, whole, and what only looks like one is left alone."""

from __future__ import annotations

import time

import pytest

from tests.services.privacy.secret_samples import HARMLESS, SECRETS
from tidegate.services.privacy.dlp.credentials import find_secrets
from tidegate.services.privacy.dlp.detector import Detector

DETECTOR = Detector(("GB", "DE", "FR", "ES", "US"))


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_found_whole(name: str) -> None:
    secret, frame = SECRETS[name]
    text = frame.format(secret)
    start = text.index(secret)
    assert any(span.start <= start and start + len(secret) <= span.end for span in find_secrets(text))
    kept = text
    for found in reversed(DETECTOR.find(text)):
        kept = kept[: found.start] + kept[found.end :]
    assert secret not in kept
    assert not any(secret[at : at + 8] in kept for at in range(len(secret) - 8))


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_a_secret_is_left_alone(text: str) -> None:
    assert list(find_secrets(text)) == []


@pytest.mark.parametrize(
    "text",
    ["xoxb-1-" * 400, "eyJ" * 1000, "sk-" * 1000, "://a:" * 600, "A.B" * 1000, "1:" * 1500, "MMMMMM.MMMMMM." * 200],
)
def test_many_beginnings_of_secrets_take_no_pathological_work(text: str) -> None:
    def spent_s(text: str) -> float:
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            list(find_secrets(text))
            best = min(best, time.process_time() - started)
        return best

    clean = ("My password is changed: the branch in the old town opens at 9 and closes at 17.30. " * 40)[:3000]
    assert spent_s(text[:3000]) < 15 * spent_s(clean)
