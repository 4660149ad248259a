"""A vault token that a client or a document brings is text: nobody learns by it what it stands for."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from tests.support.gateway_site import EMAIL, Site, ask, asked, nats_site
from tidegate.schemas import Asked, Cursor, Published, Refused, Turn, decode
from tidegate.schemas.subjects import ANSWERS
from tidegate.schemas.vault_token import tokens_in
from tidegate.services.gateway.client_stream import AdmittedClient
from tidegate.services.streaming.events import DeltaEvent, EndEvent

pytestmark = pytest.mark.anyio
running = pytest.fixture(nats_site)
INVENTED = "<EMAIL_0123456789ab>"


async def token_of(running: Site, rid: str, **fields: Any) -> str:
    """A token that is really there: of ada's address, in the answer to this request."""
    answered = await answer(running, asked("personal data", rid=rid, **fields))
    assert isinstance(answered, Published)
    assert EMAIL in answered.text
    stored = await running.bus.last(ANSWERS, f"answers.kiosk.{rid}")
    assert stored is not None
    [token] = tokens_in(decode(stored, Published).text)
    return token


async def answer(running: Site, request: Asked) -> Published | Refused:
    """What is answered; over NATS nobody asks without a name, so that such a request comes in beside it."""
    return await ask(running, request) if request.asker else await running.ingress.submit(request)


async def streamed(running: Site, rid: str, **fields: Any) -> list[str]:
    """All that a client is shown of an answer: the pieces, their sum, and the answer at the end."""
    pending = await running.ingress.accept(asked("quote it", rid=rid, **fields))
    shown, whole = [], ""
    async for event in running.ingress.streams.follow(AdmittedClient(pending, Cursor(), True), "nats", 5.0):
        if isinstance(event, DeltaEvent):
            shown.append(event.text)
        elif isinstance(event, EndEvent):
            whole = event.published.text
    return [*shown, "".join(shown), whole]


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        ({"asker": "ada"}, {"asker": "ada"}),
        ({"asker": "ada"}, {"asker": "ada", "session": "loan"}),
        ({"asker": "ada", "session": "rent"}, {"asker": "ada", "session": "loan"}),
        ({"asker": "ada", "session": "loan"}, {"asker": "ben", "session": "loan"}),
        ({"asker": "", "session": "loan"}, {"asker": "", "session": "loan"}),
    ],
    ids=["another request", "a session", "another session", "another asker", "nobody"],
)
async def test_a_real_token_that_a_document_quotes_says_nothing(
    running: Site, theirs: dict[str, str], mine: dict[str, str]
) -> None:
    token = await token_of(running, "r1", **theirs)
    running.quoted = f"Write to {token} or {INVENTED}, {token}"
    answered = await answer(running, asked("quote it", rid="r2", **mine))
    assert isinstance(answered, Published)
    assert answered.text == running.quoted
    *_, together, whole = await streamed(running, "r3", **mine)
    assert together == whole == running.quoted


async def test_a_session_shares_its_tokens_and_no_piece_of_one_is_shown(running: Site) -> None:
    token = await token_of(running, "r1", session="loan")
    running.quoted = f"Write to {token} or {INVENTED}, {token}"
    *pieces, together, whole = await streamed(running, "r2", session="loan")
    assert together == whole == running.quoted.replace(token, EMAIL)
    assert not any(token[:9] in first + second for first, second in pairwise(["", *pieces]))


async def test_a_client_that_sends_a_token_is_refused_and_gives_nothing_to_guess_by(running: Site) -> None:
    real = await token_of(running, "r1", session="loan")
    refusals = []
    for at, token in enumerate((real, INVENTED)):
        schema = json.dumps({"type": "object", "title": token})
        forged: tuple[tuple[str, Any], ...] = (
            ("text", f"Who is {token}?"),
            ("history", (Turn("user", token),)),
            ("instructions", f"Say {token}."),
            ("schema", schema),
        )
        for field, value in forged:
            refused = await ask(running, asked(rid=f"x{at}{field}", session="loan", **{field: value}))
            assert isinstance(refused, Refused)
            refusals.append((field, refused.code, refused.reason, refused.hint))
    assert {code for _, code, _, _ in refusals} == {"forged_token"}
    assert refusals[:4] == refusals[4:], "one that is real is refused as one that is not"
