"""What comes up from a site is judged before anything is done with it: whose it is, its form, its size, its words.

The site is the subject's, which the server has checked; the body is only held against it. What may not come up is
refused with a code and counted for the audit log, and nothing of it is repeated. Next: escalation_checks.py,
site_binding.py; brokers/stage.py, `ForbiddenMessageError`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from tidegate.brokers.stage import ForbiddenMessageError
from tidegate.schemas import Answer, Begin, Escalated, Message, Plan, Question, Refused, Verified, encode, replace
from tidegate.schemas.errors import RetryLaterError, UnreadableError
from tidegate.schemas.message import M
from tidegate.schemas.refusals import refusal
from tidegate.schemas.strictness import UnknownFieldError, decode_strictly
from tidegate.schemas.subject_claims import TRACEPARENT, EscalationClaim, claim_of
from tidegate.schemas.subjects import escalations_of, site_of
from tidegate.schemas.verification_subjects import tenant_of_fast_lane, tenant_of_session
from tidegate.services.fleet.refusal_counts import RefusalCounts, RefusalKind
from tidegate.services.uplink.escalation_checks import (
    FAULTS,
    MOST_BYTES,
    FindByRules,
    NamesOf,
    RulesOf,
    fault_of_claim,
    fault_of_names,
    fault_of_sizes,
    fault_of_words,
    holds_personal,
)
from tidegate.services.uplink.site_binding import AGAIN_S, SiteBinding
from tidegate.services.uplink.source_watch import SourceWatch

OLDER_AGAIN_S = 60.0
INLINE_CHARS = 500
"""A text up to this long is searched in less time than a thread takes to start."""
NOTHING_ASKED = Question(text="", language="", intent="", intent_confidence=0.0)
NOTHING_PLANNED = Plan(
    where="cloud", may_escalate=False, k=0, model="", shares_ms={}, config_version="", reason="", mode="cloud_stream"
)


class IntakeRefusedError(ForbiddenMessageError):
    """The hub does not take this message of a site; `fault` is one of `FAULTS`."""

    hint = "see the site that sent it: no version of ours sends such a message"

    def __init__(self, fault: str, instead: tuple[Message, ...] = ()) -> None:
        super().__init__(f"{fault}: {FAULTS[fault]}", instead=instead)
        self.fault = fault

    @property
    def refused(self) -> Refused:
        """What the site is told."""
        return refusal("refused_at_hub", fault=FAULTS[self.fault], named=self.fault)


class _Sender(NamedTuple):
    """From whom a message came, as far as its subject says."""

    site: str
    tenant: str = ""
    rid: str = ""


class HubIntake:
    """Judges what sites send to one hub. `rules_of` finds personal data, `names_of` what only a model finds of it;
    `counts` reports to the audit log."""

    def __init__(
        self,
        binding: SiteBinding,
        rules_of: RulesOf,
        counts: RefusalCounts,
        names_of: NamesOf = lambda _: None,
        watch: SourceWatch | None = None,
    ) -> None:
        self._binding = binding
        self._rules_of = rules_of
        self._names_of = names_of
        self._watch = watch
        self._counts = counts

    async def read_stored(self, subject: str, headers: Mapping[str, str], data: bytes) -> Escalated:
        """An escalation of the stream. Raises `IntakeRefusedError`, with the verdict that ends its request where the
        subject says which that is, and `RetryLaterError`."""
        claim = claim_of(subject)
        if claim is None:
            raise self._refuse(_Sender(subject.split(".")[1]), "bad_subject")
        sender = _Sender(claim.site, claim.tenant, claim.rid)
        try:
            self._check(sender, self._binding.fault_of(claim.site, claim.tenant))
            escalated = self._read(sender, data, Escalated)
            self._check(sender, fault_of_claim(escalated, claim))
            traceparent = headers.get("traceparent")
            is_traced = traceparent is None or TRACEPARENT.match(traceparent)
            self._check(sender, "" if is_traced else "bad_traceparent")
            return await self._screened(sender, escalated)
        except IntakeRefusedError as error:
            raise IntakeRefusedError(error.fault, (verdict_of_refusal(claim, error.fault),)) from error

    async def read_again(self, subject: str, escalated: Escalated) -> Escalated:
        """An escalation that a site sends past the stream, which has lost it. Raises as `read_stored` does."""
        stored_under = escalations_of(site_of(subject), f"{escalated.tenant}.{escalated.rid}")
        return await self.read_stored(stored_under, {}, encode(escalated))

    async def read_asked(self, subject: str, data: bytes) -> Escalated:
        """An escalation that is asked about at once. Raises `IntakeRefusedError`, `RetryLaterError`.

        A site that names no tenant in its subject is older than its hub. It is taken at its word where it serves every
        tenant; where it does not, the stream says which tenant it is.
        """
        sender = _Sender(site_of(subject), tenant_of_fast_lane(subject))
        self._check_named(sender)
        return await self._take(sender, self._read(sender, data, Escalated))

    async def read_begin(self, subject: str, data: bytes) -> Begin:
        """The beginning of a verification session. Raises as `read_asked` does."""
        sender = _Sender(site_of(subject), tenant_of_session(subject))
        self._check_named(sender)
        begin = self._read(sender, data, Begin)
        return replace(begin, escalated=await self._take(sender, begin.escalated))

    def check_session(self, subject: str, begun: Escalated) -> None:
        """Whether the site that goes on with a session is the one that began it, for the same tenant, and is still
        heard: it may have been revoked since. Raises as `read_asked` does."""
        sender = _Sender(site_of(subject), tenant_of_session(subject), begun.rid)
        self._check_named(sender)
        is_own = sender.site == begun.site and sender.tenant in ("", begun.tenant)
        self._check(sender, "" if is_own else "foreign_session")
        self._check(sender, self._binding.fault_of(sender.site, begun.tenant))

    def _check_named(self, sender: _Sender) -> None:
        if not sender.tenant and self._binding.has_own_tenants(sender.site):
            raise RetryLaterError(
                "this hub takes a site's word for no tenant: bring the site up to date", OLDER_AGAIN_S
            )

    async def _take(self, sender: _Sender, escalated: Escalated) -> Escalated:
        """The tenant is the subject's; that of an older site is the body's. Either way the site has to serve it."""
        self._check(sender, "" if sender.tenant in ("", escalated.tenant) else "wrong_tenant")
        sender = sender._replace(tenant=escalated.tenant, rid=escalated.rid)
        self._check(sender, "" if escalated.site == sender.site else "wrong_site")
        self._check(sender, self._binding.fault_of(sender.site, escalated.tenant))
        return await self._screened(sender, escalated)

    def _read(self, sender: _Sender, data: bytes, kind: type[M]) -> M:
        self._check(sender, "too_large" if len(data) > MOST_BYTES else "")
        try:
            return decode_strictly(data, kind)
        except UnknownFieldError as error:
            raise self._refuse(sender, "unknown_field") from error
        except UnreadableError as error:
            raise self._refuse(sender, "unreadable") from error

    async def _screened(self, sender: _Sender, escalated: Escalated) -> Escalated:
        """The escalation, without a draft that may quote somebody: a draft may always be missing, and what it quotes
        of the site's own documents is not known here to be public."""
        self._check(sender, fault_of_sizes(escalated))
        self._check(sender, await self._fault_of_source(sender, escalated))
        draft = escalated.draft
        size = len(escalated.question.text) + len(escalated.question.instructions) + len(draft.text if draft else "")
        find_names = self._names_of(escalated.tenant)
        is_quick = size <= INLINE_CHARS and find_names is None
        judge = partial(self._judge, escalated, self._rules_of(escalated.tenant), find_names)
        fault, is_clean = judge() if is_quick else await asyncio.to_thread(judge)
        self._check(sender, fault)
        return escalated if is_clean else replace(escalated, draft=None)

    async def _fault_of_source(self, sender: _Sender, escalated: Escalated) -> str:
        """`cloned_site`, where this shows that there are two of the site; it is fenced then."""
        if self._watch is None or escalated.source is None or self._watch.is_known(sender.site, escalated.source):
            return ""
        try:
            fault = await asyncio.to_thread(self._watch.check, sender.site, escalated.source)
        except (UnreadableError, OSError) as error:
            raise RetryLaterError(f"what {sender.site} has sent before cannot be read or kept", AGAIN_S) from error
        if fault == "fenced":
            self._counts.add(RefusalKind("", "cloned_site", f"site:{sender.site[:32]}", "site_fenced"), sender.rid)
        return "cloned_site" if fault else ""

    def _judge(self, escalated: Escalated, find: FindByRules, find_names: FindByRules | None) -> tuple[str, bool]:
        draft = escalated.draft
        is_clean = draft is None or not holds_personal(draft.text, find)
        fault = fault_of_words(escalated.question, find)
        if not fault and find_names is not None:
            fault = fault_of_names(escalated.question, find_names)
        return fault, is_clean

    def _check(self, sender: _Sender, fault: str) -> None:
        if fault:
            raise self._refuse(sender, fault)

    def _refuse(self, sender: _Sender, fault: str) -> IntakeRefusedError:
        kind = RefusalKind(self._binding.named(sender.tenant), fault, f"site:{sender.site[:32]}", "violated")
        self._counts.add(kind, sender.rid)
        return IntakeRefusedError(fault)


def verdict_of_refusal(claim: EscalationClaim, fault: str) -> Verified:
    """What ends the request at the site: no answer, and why. Nothing in it is of the body."""
    return Verified(
        rid=claim.rid,
        tenant=claim.tenant,
        site=claim.site,
        asked_at_ms=0,
        deadline_at_ms=0,
        question=NOTHING_ASKED,
        plan=NOTHING_PLANNED,
        answer=Answer(text=""),
        refusal=fault,
    )
