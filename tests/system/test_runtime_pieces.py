"""The edge runtime with a hub that shows its answer in any pieces: tokens stay whole, and the site's policy holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.edge_runtime import AT_THE_HUB, asked, open_runtime, serve
from tests.support.scripted_hub import scripted_hub, vouched
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import Question
from tidegate.schemas.answer import Answer
from tidegate.schemas.vault_token import tokens_in
from tidegate.services.runtime import AnswerWithdrawnError
from tidegate.services.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.system]


async def test_a_vault_token_that_is_cut_by_the_hubs_pieces_comes_whole_to_its_asker_and_to_no_other(
    site: Settings, tmp_path: Path
) -> None:
    cuts = [1, 9, 14, 18, 25]
    remaining = iter([*cuts, 9])

    def answer_to(question: Question) -> tuple[Answer, int]:
        (token,) = tokens_in(question.text)
        return vouched(f"We write to {token} on Monday.", "We write to on Monday"), len("We write to ") + next(
            remaining
        )

    async with (
        Server("hub", tmp_path / "nats") as server,
        scripted_hub(server.url, answer_to),
        open_runtime(site, server.url) as runtime,
    ):
        text = "Who is the owner of the mail address ann.archer@example.org?"
        for _ in cuts:
            answer = await serve(runtime, asked(text, asker="ann"))
            assert answer == "We write to ann.archer@example.org on Monday."
        published = await runtime.answer(asked(text, asker="ann"))
        assert published.receipt.route == "cloud"
        assert "example.org" not in published.text


async def test_no_piece_is_yielded_that_the_policy_of_the_site_has_not_passed(site: Settings, tmp_path: Path) -> None:
    promise = "The fund has guaranteed returns. It was founded in 1999."
    number = "The desk is open. Call Ann Archer on 020 7946 0958."
    given = iter([(promise, 32), (number, 51)])

    def answer_to(_: Question) -> tuple[Answer, int]:
        text, cut = next(given)
        return vouched(text, "The desk is open. Call on"), cut

    async with (
        Server("hub", tmp_path / "nats") as server,
        scripted_hub(server.url, answer_to),
        open_runtime(site, server.url) as runtime,
    ):
        pieces = [piece async for piece in runtime.serve(asked(AT_THE_HUB))]
        assert "guaranteed" not in "".join(pieces)
        assert "Sorry" in pieces[0]
        text = await serve(runtime, asked("Who founded the wine club?"))
        assert "The desk is open." in text
        assert "7946" not in text


async def test_an_answer_that_is_blocked_after_its_first_sentence_is_stopped_and_whoever_has_it_is_told(
    site: Settings, tmp_path: Path
) -> None:
    first = "It was founded in 1999. It has three members."

    def answer_to(_: Question) -> tuple[Answer, int]:
        return vouched(f"{first} The fund has guaranteed returns.", first), len(first)

    async with (
        Server("hub", tmp_path / "nats") as server,
        scripted_hub(server.url, answer_to),
        open_runtime(site, server.url) as runtime,
    ):
        pieces: list[str] = []

        async def receive() -> None:
            async for piece in runtime.serve(asked(AT_THE_HUB)):
                pieces.append(piece)  # noqa: PERF401 - what was yielded before it was stopped

        with pytest.raises(AnswerWithdrawnError) as stopped:
            await receive()
        assert "".join(pieces).strip() == first  # a sentence without a number at its end is shown when it is whole
        assert "policy_block" in stopped.value.reason
        assert "may not give an answer" in stopped.value.hint
