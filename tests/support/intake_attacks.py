"""What a site tries to have the hub take, by the code under which each is refused."""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

import msgspec

from tests.support.escalation_site import escalated
from tidegate.schemas import Answer, Artefact, Draft, Escalated, Verified, encode, encode_json, replace

SECRET = "DE89 3704 0044 0532 0130 00"
"""What may be nowhere at the hub: an IBAN with its check digits, in clear."""
GOOD = escalated("What does a banker's draft cost?")
SUBJECT = "escalations.site1.kiosk.r1"


class IntakeAttempt(NamedTuple):
    """Bytes that a site sends, and the code under which they are refused."""

    name: str
    data: bytes
    code: str


def with_question(**fields: Any) -> Escalated:
    return replace(GOOD, question=replace(GOOD.question, **fields))


def with_field(path: tuple[str, ...], value: object) -> bytes:
    """The good escalation with a field that its type does not have."""
    raw = msgspec.msgpack.decode(encode(GOOD))
    inner = raw
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return msgspec.msgpack.encode(raw)


def says(name: str, code: str, **fields: Any) -> IntakeAttempt:
    return IntakeAttempt(name, encode(replace(GOOD, **fields)), code)


def asks(name: str, code: str, **fields: Any) -> IntakeAttempt:
    return IntakeAttempt(name, encode(with_question(**fields)), code)


PERSONAL = {
    "an IBAN": SECRET,
    "an IBAN without blanks": SECRET.replace(" ", ""),
    "an IBAN with other blanks": SECRET.replace(" ", "\u00a0"),
    "an IBAN in wide digits": "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in SECRET),
    "an e-mail address": "ada.lovelace@example.org",
    "a card": "4111 1111 1111 1111",
    "a telephone number": "+44 20 7946 0958",
    "an address of the internet": "my machine is 203.0.113.77",
    "an access key": "AKIAIOSFODNN7EXAMPLE",
    "a private key": "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEG\n-----END PRIVATE KEY-----",
    "a social security number": "my SSN is 078-05-1120",
    "a date of birth": "I was born on 12 March 1981",
    "a name that is introduced": "My name is Philippa Okonjo",
    "an e-mail address in base64": base64.b64encode(b"write to ada.lovelace@example.org now").decode(),
    "an e-mail address beside a token": "<NAME_0123456789ab> ada.lovelace@example.org",
    "an account around a token": "account number 12345678 <ACCOUNT_0123456789ab>",
    "an IBAN between tokens": f"<IBAN_0123456789ab> {SECRET} <IBAN_0123456789ab>",
}
WORDS = [
    *(asks(f"{name} in the question", "personal_data", text=f"Pay it: {value}") for name, value in PERSONAL.items()),
    asks("an IBAN in the instructions", "personal_data", instructions=f"Always name {SECRET}."),
    asks("an IBAN in a schema", "personal_data", schema=f'{{"title": "{SECRET}"}}', workload="extract"),
    asks("an escaped address in a schema", "personal_data", schema='{"title": "ada\\u0040example.org"}'),
    asks("an address as the intent", "personal_data", intent="ada.lovelace@example.org"),
    asks("a name as a vault token", "forged_token", vault_tokens=("Philippa Okonjo",)),
    asks("a token that is too long", "forged_token", vault_tokens=("<NAME_0123456789abcdef>",)),
]
FORMS = [
    IntakeAttempt("no bytes", b"", "unreadable"),
    IntakeAttempt("noise", b"\xc1\x00", "unreadable"),
    IntakeAttempt("no object", b"[]", "unreadable"),
    IntakeAttempt("a half escalation", encode(GOOD)[:-9], "unreadable"),
    IntakeAttempt("a fact of another type", encode(GOOD.followed_by(
        Verified, question=GOOD.question, plan=GOOD.plan, answer=Answer(text="yes"))), "unreadable"),
    IntakeAttempt("a request id of two tokens", with_field(("rid",), "r1.r2"), "unreadable"),
    IntakeAttempt("a request id of two lines", with_field(("rid",), "r1\n"), "unreadable"),
    IntakeAttempt("a request id that is too long", with_field(("rid",), "r" * 65), "unreadable"),
    IntakeAttempt("a wildcard as tenant", with_field(("tenant",), "*"), "unreadable"),
    IntakeAttempt("a number as text", with_field(("question", "text"), 7), "unreadable"),
    IntakeAttempt("an asker", with_field(("asker",), "ada"), "unknown_field"),
    IntakeAttempt("a passage of the site", with_field(("passages",), [{"text": SECRET}]), "unknown_field"),
    IntakeAttempt("a field in the question", with_field(("question", "clear_text"), SECRET), "unknown_field"),
    IntakeAttempt("a field in the plan", with_field(("plan", "note"), SECRET), "unknown_field"),
    IntakeAttempt("a field in JSON", encode_json(GOOD)[:-1] + b',"asker":"ada"}', "unknown_field"),
]  # fmt: skip
SIZES = [
    asks("a question that is too long", "too_large", text="why? " * 10_000),
    asks("instructions that are too long", "too_large", instructions="x" * 70_000),
    asks("a schema that is too long", "too_large", schema="[" + "1," * 10_000 + "1]"),
    says("a reason that is too long", "too_large", reason="x" * 5_000),
    says("too many parts", "too_large", lineage=(Artefact("document", "d", "v"),) * 600),
    says("a version that is too long", "too_large", lineage=(Artefact("model", "m", "v" * 5_000),)),
    says("a plan with too many shares", "too_large", plan=replace(
        GOOD.plan, shares_ms={f"s{n}": 1.0 for n in range(600)})),
    says("all of it", "too_large", lineage=(Artefact("document", "d" * 4_000, "v"),) * 200),
]  # fmt: skip
OTHER_SITE = says("in the name of another site", "wrong_site", site="site2")
STORED_ONLY = [
    says("for another tenant than the subject's", "wrong_tenant", tenant="bank"),
    says("for another request than the subject's", "wrong_request", rid="r2"),
]
"""What only the subject of the stream contradicts."""
ATTEMPTS = [OTHER_SITE, *FORMS, *SIZES, *WORDS]
DRAFTED = replace(GOOD, draft=Draft(ids=(1, 2), tokenizer="t", text=f"It is paid to {SECRET}."))
"""A draft that quotes an account: perhaps one that the site's own documents publish."""
