"""The table of refusals holds together: every code can be filled in, and its retry agrees with its status."""

from __future__ import annotations

import string

import pytest

from tidegate.schemas import Refused
from tidegate.schemas.refusals import REFUSALS, may_retry, refusal

codes = pytest.mark.parametrize("code", sorted(REFUSALS))


def gaps(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@codes
def test_a_refusal_fills_the_gaps_in_its_text_and_hint(code: str) -> None:
    terms = REFUSALS[code]
    facts = {gap: f"<{gap} of it>" for gap in gaps(terms.reason) | gaps(terms.hint)}
    refused = refusal(code, "r1", **facts)
    assert (refused.code, refused.rid) == (code, "r1")
    for gap, value in facts.items():
        assert value in refused.reason + refused.hint, gap
    assert refused.reason
    assert refused.hint
    assert not gaps(refused.reason)


@codes
def test_what_is_said_of_a_retry_agrees_with_the_status(code: str) -> None:
    terms = REFUSALS[code]
    assert may_retry(refusal(code, **dict.fromkeys(gaps(terms.reason + terms.hint), "x"))) is (
        terms.status in {429, 503, 504}  # RFC 9110: what is wrong for a while, and not by the client's fault
    )
    assert terms.retry != "never" or not terms.retry_after_s
    assert not terms.is_resumable or terms.status in {429, 500, 503, 504}


def test_an_unknown_code_is_not_retried_and_cannot_be_made() -> None:
    assert not may_retry(Refused(code="of a newer hub", reason="?"))
    with pytest.raises(KeyError):
        refusal("of a newer hub")
