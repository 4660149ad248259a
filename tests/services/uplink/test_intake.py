"""The intake refuses nothing that an honest site sends, whatever numbers, names of places or tokens are in it."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.escalation_site import escalated
from tests.support.hub_intakes import REGIONS, hub_intake
from tests.support.intake_attacks import GOOD, PERSONAL, SUBJECT
from tests.support.message_samples import SAMPLES
from tidegate.schemas import Escalated, RetryLaterError, encode, replace
from tidegate.schemas.vault_token import vault_token
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.uplink.escalation_checks import fault_of_words, holds_personal
from tidegate.services.uplink.site_binding import SiteBinding
from tidegate.sync.trust.site_records import SiteRecords

pytestmark = pytest.mark.anyio
FIND = Detector(REGIONS).find
HONEST = [
    "What does a transfer of 12,500.00 EUR to Switzerland cost in 2026?",
    "Is room 4711 free from 12.03. to 15.03.2027, and for 2 or 3 people?",
    "Order 2026-000123 of 12/11/2026: 3 x 49.99 = 149.97, is that right?",
    "Wie hoch ist die Gebühr für 1.000.000 JPY bei einem Kurs von 163,25?",
    "What is the limit of form 1099-INT, part II, line 14b?",
    "Error 0x80070005 after version 10.15.7 (build 19H2026), what now?",
    "Pi is 3.14159265358979323846; how many digits are shown?",
    "Is the model EN 60204-1:2018 / IEC 61508-3 certified for 400 V and 50 Hz?",
    "How many seconds are 1 000 000 000 000 ns?",
    "Quels sont les horaires du 24/12 au 02/01 ?",
    "Which bus goes from stop 12 to line 100 at 07:45?",
    "<NAME_0123456789ab> asks what <IBAN_0123456789ab> costs at <EMAIL_aabbccddeeff>.",
    "Please call <PHONE_999999999999> or <PHONE_123456789012> about <CARD_411111111111>.",
]


@pytest.mark.parametrize("text", HONEST)
async def test_numbers_and_tokens_that_are_nobodys_come_through(text: str) -> None:
    intake, sent = hub_intake(), escalated(text)
    assert await intake.read_stored(SUBJECT, {}, encode(sent)) == sent
    assert await intake.read_asked("cloud.site1.verify", encode(sent)) == sent


@pytest.mark.parametrize("sample", [each for each in SAMPLES if isinstance(each, Escalated)])
async def test_what_has_something_in_every_field_comes_through_as_it_is(sample: Escalated) -> None:
    subject = f"escalations.{sample.site}.{sample.tenant}.{sample.rid}"
    traced = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    intake = hub_intake(tenants=(sample.tenant,))
    assert await intake.read_stored(subject, traced, encode(sample)) == sample


def masked(text: str) -> str:
    """The text as a site lets it out: a vault token for each finding of the same rules."""
    out, end = [], 0
    for found in FIND(text):
        out += [text[end : found.start], vault_token(found.kind, sha256(found.value.encode()).hexdigest())]
        end = found.end
    return "".join((*out, text[end:]))


words = st.sampled_from(
    [each for each in (*PERSONAL.values(), *re.findall(r"\S+", " ".join(HONEST)), "at", "\n") if "<" not in each]
)
texts = st.lists(words, max_size=14).map(" ".join)


@given(texts)
def test_what_a_site_has_masked_is_never_refused_and_what_it_has_not_always(text: str) -> None:
    assert not holds_personal(masked(text), FIND)
    assert holds_personal(text, FIND) is bool(FIND(text))


async def test_a_question_without_a_token_of_its_own_is_taken_for_what_it_is() -> None:
    assert fault_of_words(GOOD.question, FIND) == ""
    assert fault_of_words(replace(GOOD.question, vault_tokens=("<NAME_0123456789ab>",)), FIND) == ""


def test_a_record_that_cannot_be_read_now_refuses_nobody_for_good(tmp_path: Path) -> None:
    (tmp_path / "site1.json").write_text("{")
    with pytest.raises(RetryLaterError):
        SiteBinding(("kiosk",), SiteRecords(tmp_path)).fault_of("site1", "kiosk")
