"""Holds back of an answer in the making what may still become part of a personal value.

Promises that what was shown stays as it is when more comes, and that no value is shown by halves.
Next: services/privacy/transducer.py."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.schemas import Answer
from tidegate.services.policies.policy import FindPersonal, Policy
from tidegate.services.policies.redaction import REDACTED, public_quotes
from tidegate.services.privacy.dlp.finding import Finding
from tidegate.services.privacy.dlp.units import settled_units
from tidegate.services.privacy.transducer import StreamScreen


def hold_back(written: Answer, passed: Answer, policies: Sequence[Policy], find_personal: FindPersonal) -> Answer:
    """Of `passed`, what the policies left of the sentences `written` so far, as much as no further one can change.

    The sentences are whole, so their last word is. What a citation holds anyway is not held. Of a JSON document nothing
    is shown before its end: a later key may say what an earlier value is, and half a document is of no use.
    """
    if not any("redact_pii" in policy.transform for policy in policies):
        return passed
    if written.format == "json":
        return passed if _is_document(written.text) else msgspec.structs.replace(passed, text="")
    quotes = public_quotes(written)

    def find(text: str) -> Sequence[Finding]:
        return [found for found in find_personal(text) if not any(found.value in quote for quote in quotes)]

    screen = StreamScreen(find, lambda _: REDACTED, settled=settled_units)
    settled = screen.feed(f"{written.text} ")
    held = screen.held.strip()
    if not passed.text.startswith(settled) or any(held in quote for quote in quotes if held) or not held:
        return passed
    return msgspec.structs.replace(passed, text=settled)


def _is_document(text: str) -> bool:
    """Whether a JSON object or list has come to its end; what is neither may go on."""
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return False
    return True
