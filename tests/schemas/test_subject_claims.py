"""What a subject claims: read where it is of the fixed form, and believed before the body."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.message_samples import SAMPLES
from tidegate.schemas import Message, replace
from tidegate.schemas.facts import PIPELINE
from tidegate.schemas.subject_claims import TRACEPARENT, EscalationClaim, belongs_under, claim_of
from tidegate.schemas.subjects import HUB, escalations_of, subject_of

names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True)
rids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
STORED = [sample for sample in SAMPLES if isinstance(sample, PIPELINE)]


@given(site=names, tenant=names, rid=rids)
def test_a_subject_of_the_fixed_form_says_who_escalates_what(site: str, tenant: str, rid: str) -> None:
    assert claim_of(escalations_of(site, f"{tenant}.{rid}")) == EscalationClaim(site, tenant, rid)


@given(subject=st.one_of(st.text(), st.lists(st.one_of(names, rids, st.text(max_size=3)), max_size=6).map(".".join)))
def test_whatever_is_read_from_a_subject_makes_that_subject(subject: str) -> None:
    claim = claim_of(subject)
    assert claim is None or subject == f"escalations.{claim.site}.{claim.tenant}.{claim.rid}"


@pytest.mark.parametrize(
    "subject",
    [
        "escalations",
        "escalations.site1",
        "escalations.site1.kiosk",
        "escalations.site1.kiosk.r1.more",
        "escalations.site1.kiosk.",
        "escalations.Site1.kiosk.r1",
        "escalations.site1.ki osk.r1",
        "escalations.site1.kiosk.r1\n",
        f"escalations.site1.kiosk.{'r' * 65}",
        "verdicts.site1.kiosk.r1",
    ],
)
def test_any_other_form_claims_nothing(subject: str) -> None:
    assert claim_of(subject) is None


@pytest.mark.parametrize("message", STORED, ids=lambda message: type(message).__name__)
def test_a_message_belongs_under_its_own_subjects_and_under_no_other(message: Message) -> None:
    site = getattr(message, "site", "")
    for domain in (site, HUB):
        assert belongs_under(message, subject_of(message, domain))
    own = subject_of(message, site)
    others = [own + "x", f"x{own}", own.replace(".", ".x", 1)]
    assert not [other for other in others if belongs_under(message, other)]
    assert not belongs_under(replace(message, tenant="neighbour"), own)
    assert not belongs_under(replace(message, rid="another"), own)


@given(st.text(alphabet="0123456789abcdef-\n ", max_size=60))
def test_a_traceparent_has_its_fixed_form(text: str) -> None:
    assert not TRACEPARENT.match(text) or (len(text) == 55 and text.count("-") == 3)
