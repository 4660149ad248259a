"""What a site tries to have the hub take: refused on both lanes with a code and an entry of the audit log.

Nothing of it is kept, and its request ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.audited_refusals import entries_of, entry_of
from tests.support.hub_intakes import hub_intake
from tests.support.intake_attacks import ATTEMPTS, DRAFTED, GOOD, SECRET, STORED_ONLY, SUBJECT, IntakeAttempt
from tests.support.lease_lab import BOOT, OTHER_BOOT, Lab
from tests.support.taking_hub import taking_hub
from tidegate.schemas import Begin, LostEscalation, Refused, RetryLaterError, Verified, decode, encode, replace
from tidegate.schemas.audit import AuditedAct
from tidegate.schemas.refusals import may_retry
from tidegate.schemas.subjects import DEAD, ESCALATIONS, VERDICTS, ping
from tidegate.schemas.verification_subjects import (
    fast_lane,
    older_fast_lane,
    older_verification_session,
    verification_session,
)
from tidegate.services.evidence.entries import draft_of
from tidegate.services.fleet.refusal_counts import RefusalCounts
from tidegate.services.uplink.escalation_checks import FAULTS
from tidegate.services.uplink.intake import IntakeRefusedError
from tidegate.sync.trust.leases import ClonedSiteError, revoke_site

pytestmark = pytest.mark.anyio


def named(attempt: IntakeAttempt) -> str:
    return attempt.name


def check_entry(counts: RefusalCounts, code: str, tenant: str = "kiosk") -> None:
    entry, act = entry_of(code, counts)
    assert (entry.kind, entry.tenant, act.by, act.count) == ("violated", tenant, "site:site1", 1)
    assert SECRET not in f"{act}"


def check_refused(data: bytes, code: str) -> None:
    refused = decode(data, Refused)
    assert refused.code == "refused_at_hub"
    assert FAULTS[code] in refused.reason
    assert code in refused.hint


@pytest.mark.parametrize("attempt", [*ATTEMPTS, *STORED_ONLY], ids=named)
async def test_what_a_stream_brings_that_may_not_come_up_is_erased_and_ends(attempt: IntakeAttempt) -> None:
    hub = await taking_hub()
    await hub.take(attempt.data)
    assert hub.calls == []
    assert hub.bus.stored(ESCALATIONS) == ()
    [letter] = hub.bus.stored(DEAD)
    assert letter.data == b""
    assert letter.headers["Dead-Reason"].endswith(f"{attempt.code}: {FAULTS[attempt.code]}")
    assert draft_of(letter).kind == "dead_lettered"
    [stored] = hub.bus.stored(VERDICTS)
    verdict = decode(stored.data, Verified)
    assert stored.subject == "verdicts.site1.kiosk.r1"
    assert (verdict.refusal, verdict.answer.text, verdict.question.text) == (attempt.code, "", "")
    assert not any(SECRET.encode() in kept.data for stream in (DEAD, VERDICTS) for kept in hub.bus.stored(stream))
    check_entry(hub.counts, attempt.code)


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=named)
async def test_the_fast_lane_and_sessions_take_nothing_that_may_not_come_up(attempt: IntakeAttempt) -> None:
    hub = await taking_hub()
    check_refused(await hub.bus.request(fast_lane("site1", "kiosk"), attempt.data, timeout_s=5.0), attempt.code)
    entry, act = entry_of(attempt.code, hub.counts)
    assert (entry.kind, act.by) == ("violated", "site:site1")
    assert hub.calls == []
    assert hub.bus.stored(DEAD) == ()


@pytest.mark.parametrize(
    ("headers", "subject", "code"),
    [
        ({"traceparent": "00-1-2-01"}, SUBJECT, "bad_traceparent"),
        ({"traceparent": SECRET}, SUBJECT, "bad_traceparent"),
        ({"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01\r\nNats-Msg-Id: taken"}, SUBJECT, "bad_traceparent"),
        ({}, "escalations.site1.kiosk", "bad_subject"),
        ({}, "escalations.site1.kiosk.r1.r2", "bad_subject"),
        ({}, "escalations.site1.KIOSK.r1", "bad_subject"),
        ({}, f"escalations.site1.kiosk.{SECRET}", "bad_subject"),
    ],
)
async def test_headers_and_subjects_have_their_fixed_form(headers: dict[str, str], subject: str, code: str) -> None:
    hub = await taking_hub()
    await hub.take(encode(GOOD), subject, headers)
    [letter] = hub.bus.stored(DEAD)
    assert code in letter.headers["Dead-Reason"]
    assert "traceparent" not in letter.headers
    assert draft_of(letter).kind == "dead_lettered"
    is_named = code == "bad_traceparent"
    assert letter.subject == f"dead.cloud-verifier.{'r1' if is_named else 'none'}"
    assert letter.headers["Dead-Subject"] == (subject if is_named else "")
    assert len(hub.bus.stored(VERDICTS)) == (code == "bad_traceparent")
    assert hub.calls == []
    check_entry(hub.counts, code, "kiosk" if code == "bad_traceparent" else "")


async def test_nothing_that_somebody_chose_for_an_id_is_left_of_a_message_that_may_not_be_kept() -> None:
    hub = await taking_hub()
    await hub.take(b"noise", headers={"Nats-Msg-Id": SECRET})
    for kept in (*hub.bus.stored(DEAD), *hub.bus.stored(VERDICTS)):
        assert SECRET not in {name: value for name, value in kept.headers.items() if name != "Nats-Msg-Id"}.values()


def revoked(lab: Lab) -> None:
    revoke_site(lab.records, "site1", 1, "stolen")


def cloned(lab: Lab) -> None:
    """Two copies of one disk run and attest themselves, as each does by itself for its lease."""
    lab.grant(lab.statement(boot_id=BOOT, counter=4))
    with pytest.raises(ClonedSiteError):
        lab.grant(lab.statement(boot_id=OTHER_BOOT, counter=4))


def restored(lab: Lab) -> None:
    """An older backup of the disk runs."""
    lab.grant(lab.statement(boot_id=BOOT, counter=4))
    with pytest.raises(ClonedSiteError):
        lab.grant(lab.statement(boot_id=OTHER_BOOT, counter=2))


def of_another_tenant(lab: Lab) -> None:
    lab.records.store(replace(lab.records.load("site1"), tenants=("bank",)))


@pytest.mark.parametrize(
    ("change", "site", "code"),
    [
        (revoked, "site1", "revoked_site"),
        (cloned, "site1", "cloned_site"),
        (restored, "site1", "cloned_site"),
        (of_another_tenant, "site1", "foreign_tenant"),
        (lambda _: None, "site9", "unknown_site"),
    ],
    ids=["revoked", "cloned", "restored", "of another tenant", "never provisioned"],
)
async def test_a_site_that_the_hub_does_not_believe_is_heard_on_no_lane_from_then_on(
    tmp_path: Path, change: Callable[[Lab], None], site: str, code: str
) -> None:
    lab = Lab(tmp_path)
    hub = await taking_hub(tmp_path / "sites")
    good = encode(replace(GOOD, site="site1"))
    await hub.take(good)
    assert [fact.rid for fact in hub.calls] == ["r1"]
    change(lab)
    asked = replace(GOOD, site=site, rid="r2")
    await hub.take(encode(asked), f"escalations.{site}.kiosk.r2")
    assert code in hub.bus.stored(DEAD)[-1].headers["Dead-Reason"]
    check_refused(await hub.bus.request(fast_lane(site, "kiosk"), encode(asked), timeout_s=5.0), code)
    begin = encode(Begin(escalated=asked, tokenizer="t"))
    check_refused(await hub.bus.request(verification_session(site, "kiosk"), begin, timeout_s=5.0), code)
    lost = encode(LostEscalation(escalated=asked, id="e2"))
    check_refused(await hub.bus.request(ping(site), lost, timeout_s=5.0), code)
    assert [fact.rid for fact in hub.calls] == ["r1"]
    assert decode(hub.bus.stored(VERDICTS)[-1].data, Verified).refusal == code
    entry, act = entry_of(code, hub.counts)
    assert (entry.kind, act.by, act.count) == ("violated", f"site:{site}", 4)


async def test_a_tenant_that_the_hub_does_not_serve_is_named_in_no_entry() -> None:
    hub = await taking_hub()
    stranger = encode(replace(GOOD, tenant="stranger"))
    check_refused(await hub.bus.request(fast_lane("site1", "stranger"), stranger, timeout_s=5.0), "unknown_tenant")
    check_entry(hub.counts, "unknown_tenant", tenant="")


async def test_in_a_session_the_tenant_is_the_subject_s(tmp_path: Path) -> None:
    lab, hub = Lab(tmp_path), await taking_hub(tmp_path / "sites", tenants=("kiosk", "bank"))
    lab.records.store(replace(lab.records.load("site1"), tenants=("kiosk",)))
    own, banks = (encode(Begin(escalated=replace(GOOD, tenant=tenant), tokenizer="t")) for tenant in ("kiosk", "bank"))

    async def begin(tenant: str, data: bytes) -> bytes:
        return await hub.bus.request(verification_session("site1", tenant), data, timeout_s=5.0)

    assert decode(await begin("kiosk", own), Refused).code == "unable", "taken: this hub verifies no drafts"
    check_refused(await begin("bank", own), "wrong_tenant")
    check_entry(hub.counts, "wrong_tenant", tenant="bank")
    check_refused(await begin("kiosk", banks), "wrong_tenant")
    check_refused(await begin("bank", banks), "foreign_tenant")
    older = await hub.bus.request(older_verification_session("site1"), own, timeout_s=5.0)
    assert "bring the site up to date" in decode(older, Refused).reason


async def test_a_session_ends_with_the_trust_in_its_site(tmp_path: Path) -> None:
    lab, counts = Lab(tmp_path), RefusalCounts()
    intake = hub_intake(tmp_path / "sites", counts=counts, tenants=("kiosk", "bank"))
    ours = verification_session("site1", "kiosk", "w1")
    intake.check_session(ours, GOOD)
    intake.check_session(older_verification_session("site1", "w1"), GOOD)
    for theirs in (verification_session("site1", "bank", "w1"), verification_session("site2", "kiosk", "w1")):
        with pytest.raises(IntakeRefusedError, match="foreign_session"):
            intake.check_session(theirs, GOOD)
    of_another_tenant(lab)
    with pytest.raises(IntakeRefusedError, match="foreign_tenant"):
        intake.check_session(ours, GOOD)
    with pytest.raises(RetryLaterError, match="bring the site up to date"):
        intake.check_session(older_verification_session("site1", "w1"), GOOD)
    revoked(lab)
    with pytest.raises(IntakeRefusedError, match="revoked_site"):
        intake.check_session(ours, GOOD)
    codes = {entry.body.about for entry in entries_of(counts) if isinstance(entry.body, AuditedAct)}
    assert codes == {"foreign_session", "foreign_tenant", "revoked_site"}


async def test_on_the_fast_lane_the_tenant_is_the_subject_s(tmp_path: Path) -> None:
    lab, hub = Lab(tmp_path), await taking_hub(tmp_path / "sites", tenants=("kiosk", "bank"))
    lab.records.store(replace(lab.records.load("site1"), tenants=("kiosk",)))
    asked = encode(GOOD)
    assert isinstance(
        decode(await hub.bus.request(fast_lane("site1", "kiosk"), asked, timeout_s=5.0), Verified), Verified
    )
    check_refused(await hub.bus.request(fast_lane("site1", "bank"), asked, timeout_s=5.0), "wrong_tenant")
    check_entry(hub.counts, "wrong_tenant", tenant="bank")
    banks = encode(replace(GOOD, tenant="bank"))
    check_refused(await hub.bus.request(fast_lane("site1", "bank"), banks, timeout_s=5.0), "foreign_tenant")
    check_refused(await hub.bus.request(fast_lane("site1", "kiosk"), banks, timeout_s=5.0), "wrong_tenant")
    assert [fact.rid for fact in hub.calls] == ["r1"]


async def test_an_older_site_names_no_tenant_and_is_told_so_unless_it_serves_all(tmp_path: Path) -> None:
    lab, hub = Lab(tmp_path), await taking_hub(tmp_path / "sites")
    for tenants in ((), ("kiosk",)):
        lab.records.store(replace(lab.records.load("site1"), tenants=tenants))
        reply = decode(await hub.bus.request(older_fast_lane("site1"), encode(GOOD), timeout_s=5.0), Verified, Refused)
        assert isinstance(reply, Refused) == bool(tenants)
    assert isinstance(reply, Refused)
    assert (reply.code, "bring the site up to date" in reply.reason) == ("unavailable", True)
    assert may_retry(reply), "the site has the stream answer, and nothing ends"


@pytest.mark.parametrize("attempt", [each for each in ATTEMPTS if each.code == "personal_data"][:4], ids=named)
async def test_what_is_sent_past_the_stream_is_judged_as_what_the_stream_brings(attempt: IntakeAttempt) -> None:
    hub = await taking_hub()
    lost = replace(LostEscalation(escalated=GOOD, id="e1"), escalated=decode(attempt.data, type(GOOD)))
    check_refused(await hub.bus.request(ping("site1"), encode(lost), timeout_s=5.0), attempt.code)
    assert hub.bus.stored(ESCALATIONS) == ()
    assert decode(hub.bus.stored(VERDICTS)[0].data, Verified).refusal == attempt.code
    check_entry(hub.counts, attempt.code)


async def test_a_flood_of_violations_is_one_entry() -> None:
    hub = await taking_hub()
    for _ in range(40):
        await hub.bus.request(fast_lane("site1", "kiosk"), b"noise", timeout_s=5.0)
    assert entry_of("unreadable", hub.counts)[1].count == 40


async def test_a_draft_that_may_quote_somebody_is_left_out_and_its_question_answered() -> None:
    hub = await taking_hub()
    await hub.take(encode(DRAFTED))
    [taken] = hub.calls
    assert taken == replace(DRAFTED, draft=None)
