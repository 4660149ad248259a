"""The fields of an extraction are judged as its JSON is, and given back in clear to the asker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.message_parts import QUESTION
from tests.support.policy_files import judge_here, policy
from tidegate.schemas import Answer, Check, ExtractedField
from tidegate.services.gateway.ticket import reidentify_field
from tidegate.services.policies.grounding import grounded_claims
from tidegate.services.policies.redaction import REDACTED, redact_pii

PHONE = "0361 5550182"


class Found(msgspec.Struct):
    value: str
    start: int
    end: int


def find_personal(text: str) -> Iterator[Any]:
    at = text.find(PHONE)
    if at >= 0:
        yield Found(PHONE, at, at + len(PHONE))


def answer(*fields: ExtractedField, **more: Any) -> Answer:
    return Answer(text='{"phone": "' + PHONE + '", "total": 12}', format="json", fields=fields, **more)


def test_a_personal_value_is_redacted_in_the_fields_too() -> None:
    fields = (
        ExtractedField(path="phone", value=PHONE, evidence=f"call {PHONE}", end=17, confidence=0.9),
        ExtractedField(path="total", value=12, evidence="12", start=20, end=22, confidence=0.9),
    )
    changed, reason = redact_pii(answer(*fields), find_personal)  # type: ignore[arg-type]
    assert PHONE not in changed.text + str(changed.fields)
    assert [field.value for field in changed.fields] == [REDACTED, 12]
    assert changed.fields[0].evidence == f"call {REDACTED}"
    assert reason


def test_an_abstention_from_json_names_the_fields_and_the_keyword_that_it_is_for() -> None:
    missing = ExtractedField(path="payer.iban", problem="missing")
    unsure = ExtractedField(path="total", value=12, problem="unsure")
    assert grounded_claims(answer(missing, unsure, checks=(Check("schema", False, 0.5),))) == (
        False, "payer.iban is missing; total is unsure",
    )  # fmt: skip
    keyword = (Check("schema_unsupported_prefixItems", False, 0.0),)
    assert grounded_claims(answer(checks=keyword)) == (False, "schema_unsupported_prefixItems")
    assert grounded_claims(answer(missing, checks=(Check("schema", True, 1.0),)))[0]


@pytest.mark.parametrize(
    ("confidences", "overall", "unsure"),
    [
        ((0.65, 0.96), 0.65, ["quantity"]),
        ((0.9, 0.8), 0.6, ["date"]),
        ((0.4, 0.5), 0.4, ["quantity", "date"]),
        ((0.9, 0.9), 0.9, []),
    ],
)
def test_an_extraction_that_a_policy_finds_too_unsure_names_the_fields(
    tmp_path: Path, confidences: tuple[float, float], overall: float, unsure: list[str]
) -> None:
    names = ("quantity", "date")
    fields = tuple(ExtractedField(path=n, value=3, confidence=c) for n, c in zip(names, confidences, strict=True))
    made = judge_here(
        QUESTION,
        answer(*fields, confidence=overall, checks=(Check("schema", True, 1.0),)),
        [policy(tmp_path, "policy_id: p1\nallow: [grounded_claims]\nabstain_thresholds: {confidence: 0.66}\n")],
    )
    assert made.refusal == ("abstained" if unsure else "")
    assert [field.path for field in made.answer.fields if field.problem == "unsure"] == unsure


@pytest.mark.parametrize(
    "value", ["<IBAN_0123456789ab>", ["<IBAN_0123456789ab>"], [{"iban": "<IBAN_0123456789ab>", "n": 2}]]
)
def test_the_asker_gets_the_value_that_a_token_hides(value: Any) -> None:
    field = ExtractedField(path="iban", value=value, evidence="to <IBAN_0123456789ab>")
    clear = reidentify_field(field, lambda _: 'DE "89"')
    assert clear.evidence == 'to DE "89"'
    assert clear.value == msgspec.json.decode(
        msgspec.json.encode(value).replace(b"<IBAN_0123456789ab>", b'DE \\"89\\"')
    )
