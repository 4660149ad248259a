"""Subjects say which stream a fact lies in, and whose request it is; a reader's filter finds what a writer wrote."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.message_samples import SAMPLES
from tidegate.brokers.memory.consumer import matches
from tidegate.schemas import PIPELINE, Delta, Message, Partial, Published, Refused, Verified, subjects
from tidegate.schemas.entries import ENTRIES, OPERATOR, entry

FACTS = tuple(sample for sample in SAMPLES if isinstance(sample, PIPELINE))
[PARTIAL] = (sample for sample in SAMPLES if isinstance(sample, Partial))
[LINE] = (sample for sample in SAMPLES if isinstance(sample, Delta))
names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True)
rids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
facts = st.builds(
    lambda fact, tenant, site, rid: msgspec.structs.replace(fact, tenant=tenant, site=site, rid=rid),
    st.sampled_from(FACTS),
    names,
    names,
    rids,
)


@pytest.mark.parametrize(
    ("word", "domain", "subject"),
    [
        ("asked", "site1", "asks.kiosk.Req_1-a"),
        ("screened", "site1", "pipe.kiosk.screened.Req_1-a"),
        ("withheld", "site1", "pipe.kiosk.withheld.Req_1-a"),
        ("routed", "site1", "pipe.kiosk.routed.Req_1-a"),
        ("retrieved", "site1", "pipe.kiosk.retrieved.Req_1-a"),
        ("drafted", "site1", "pipe.kiosk.drafted.Req_1-a"),
        ("escalated", "site1", "escalations.site1.kiosk.Req_1-a"),
        ("verified", "hub", "verdicts.site1.kiosk.Req_1-a"),
        ("verified", "site1", "pipe.kiosk.verified.Req_1-a"),
        ("approved", "site1", "pipe.kiosk.approved.Req_1-a"),
        ("published", "site1", "answers.kiosk.Req_1-a"),
    ],
)
def test_every_fact_has_its_subject(word: str, domain: str, subject: str) -> None:
    [fact] = (fact for fact in FACTS if subjects.token_of(type(fact)) == word)
    assert subjects.subject_of(fact, domain) == subject


@pytest.mark.parametrize(
    ("subject", "stream"),
    [
        ("asks.kiosk.r1", "ASKS"),
        ("pipe.kiosk.routed.r1", "PIPE"),
        ("escalations.site1.kiosk.r1", "ESCALATIONS"),
        ("verdicts.site1.kiosk.r1", "VERDICTS"),
        ("answers.kiosk.r1", "ANSWERS"),
        (subjects.dead_letter("drafter", "r1"), "DEAD"),
        (subjects.tokens("kiosk", "r1"), "TOKENS"),
    ],
)
def test_a_subject_says_its_stream_and_its_request(subject: str, stream: str) -> None:
    assert subjects.stream_of(subject) == stream
    assert stream in (*subjects.SITE_STREAMS, subjects.TOKENS)
    assert subjects.rid_of(subject) == "r1"


@pytest.mark.parametrize("message", [Refused(code="x", reason="y"), PARTIAL], ids=["refused", "partial"])
def test_what_is_no_fact_is_stored_nowhere(message: Message) -> None:
    with pytest.raises(ValueError, match=f"{type(message).__name__} has no subject"):
        subjects.subject_of(message, "site1")


@pytest.mark.parametrize("domain", ["site1", subjects.HUB])
def test_a_line_of_the_log_is_stored_with_the_other_lines_of_its_request(domain: str) -> None:
    subject = subjects.subject_of(LINE, domain)
    assert subject == subjects.tokens("kiosk", "Req_1-a") == "tokens.kiosk.Req_1-a"
    assert subjects.live_tokens("kiosk", "Req_1-a") == f"live.{subject}"
    assert not subjects.is_answered_once(subject)


@pytest.mark.parametrize("approved", [False, True])
def test_an_answer_in_the_making_is_heard_where_it_is_listened_for_and_leaves_no_site(approved: bool) -> None:
    subject = subjects.partial(approved, "kiosk", "r1")
    found = [pattern for pattern in (subjects.PARTIAL_DRAFTED, subjects.PARTIAL_APPROVED) if matches(pattern, subject)]
    assert found == [subjects.PARTIAL_APPROVED if approved else subjects.PARTIAL_DRAFTED]
    for stays in (
        subject,
        *map(entry, ENTRIES),
        entry(subjects.ASK, "kiosk", OPERATOR),
        subjects.tokens("kiosk", "r1"),
    ):
        assert any(matches(pattern, stays) for pattern in subjects.SITE_ONLY)
    assert not any(matches(pattern, subjects.cloud_partial("site1", "kiosk", "r1")) for pattern in subjects.SITE_ONLY)


@given(facts, st.booleans())
@settings(derandomize=True)
def test_who_reads_a_type_finds_every_fact_of_it_in_its_own_stream(fact: Message, at_hub: bool) -> None:
    domain = subjects.HUB if at_hub else fact.site  # type: ignore[attr-defined]
    subject = subjects.subject_of(fact, domain)
    assert subjects.rid_of(subject) == fact.rid  # type: ignore[attr-defined]
    assert subjects.stream_of(subject) in subjects.SITE_STREAMS
    reader = fact.site if isinstance(fact, Verified) else domain  # the hub's verdicts are read at the site
    found = [
        source
        for source in subjects.sources_of(type(fact), reader)
        if source.stream == subjects.stream_of(subject) and matches(source.filter, subject)
    ]
    assert len(found) == 1


@given(facts, facts)
@settings(derandomize=True)
def test_a_filter_for_one_type_never_finds_another(one: Message, other: Message) -> None:
    if type(one) is type(other):
        return
    subject = subjects.subject_of(one, one.site)  # type: ignore[attr-defined]
    assert not [
        source
        for source in subjects.sources_of(type(other), one.site)  # type: ignore[attr-defined]
        if source.stream == subjects.stream_of(subject) and matches(source.filter, subject)
    ]


@given(facts)
@settings(derandomize=True)
def test_the_history_of_a_request_covers_every_fact_of_it_once(fact: Message) -> None:
    for domain in (fact.site, subjects.HUB):  # type: ignore[attr-defined]
        subject = subjects.subject_of(fact, domain)
        sources = subjects.history_of(fact.rid, fact.tenant, fact.site)  # type: ignore[attr-defined]
        found = [source for source in sources if matches(source.filter, subject)]
        assert [source.stream for source in found] == [subjects.stream_of(subject)]


@given(facts)
@settings(derandomize=True)
def test_only_an_answer_is_stored_once_for_ever(fact: Message) -> None:
    subject = subjects.subject_of(fact, fact.site)  # type: ignore[attr-defined]
    assert subjects.is_answered_once(subject) is isinstance(fact, Published)


def test_subject_tokens_are_distinct_and_are_the_tags_on_the_wire() -> None:
    kinds: tuple[type[Message], ...] = (*PIPELINE, Refused)
    tokens = [subjects.token_of(kind) for kind in kinds]
    assert len(set(tokens)) == len(tokens)
    assert tokens == [kind.__struct_config__.tag for kind in kinds]
