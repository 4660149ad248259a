"""The comparison with LiteLLM asks everything once, counts what has no reply, reports all that its lines look at."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.bench.litellm_backend import PLAIN, reply_to
from loadtests.bench.litellm_client import BUDGET_MS, GatewaySide, Offered, open_chat, published, route_of
from loadtests.bench.litellm_entries import LINES
from loadtests.bench.litellm_gateway import BEYOND, CAPACITY, CLOUD, HOOKS, WHOLE, GatewayLoad, Samples, put_together
from loadtests.bench.litellm_proxy import configuration
from loadtests.bench.litellm_questions import CLOSINGS, OPENINGS, Wordings
from loadtests.bench.litellm_sides import instant_backend
from loadtests.bench.measure import MeasurementError
from tidegate.schemas import Published, Refused
from tidegate.services.evaluation.open_loop import LoadSample

pytestmark = pytest.mark.anyio

TO_HUB = (
    "Passages:\n\n[1] Opening hours › Counter\nThe counter is closed on Sundays. It opens again on Mondays.\n\n"
    "[2] Parking\nThe car park has 40 places.\nThey are free.\n\nQuestion: How many places has the car park?"
)


# --- what is asked


@given(st.lists(st.text("ab ?", min_size=1, max_size=4), min_size=1, max_size=3, unique=True), st.data())
def test_no_wording_comes_twice_and_the_plain_questions_come_first(questions: list[str], data: st.DataObject) -> None:
    # Without spaces and marks at the ends two questions could not be told from one with another closing.
    named = [f"<{question}>" for question in questions]
    count = data.draw(st.integers(0, len(named) * len(OPENINGS) * len(CLOSINGS)))
    taken = list(islice(Wordings(named), count))
    assert len(set(taken)) == len(taken) == count
    assert taken[: len(named)] == named[:count]


def test_rather_than_ask_again_it_says_that_nothing_is_left() -> None:
    wordings = Wordings(["When?"], skipped=len(OPENINGS) * len(CLOSINGS) - 1)
    next(wordings)
    with pytest.raises(MeasurementError, match="all 96 wordings of 1 questions"):
        next(wordings)


# --- the model behind both sides


def test_a_hub_is_quoted_the_passage_with_the_questions_longest_word_and_its_number() -> None:
    assert reply_to(TO_HUB) == "The car park has 40 places [2]."
    assert reply_to("How many places has the car park?") == PLAIN


async def test_streamed_or_not_a_reply_is_the_same_text_and_every_other_one_streams() -> None:
    async with instant_backend() as url, open_chat(GatewaySide((_origin(url),), "")) as client:
        whole, streamed = [await client.ask(TO_HUB, streaming=streaming) for streaming in (False, True)]
        offered = await client.offer(["When?"] * 5, [0.0] * 5)
    assert isinstance(whole.reply, Published)
    assert isinstance(streamed.reply, Published)
    assert whole.reply.text == streamed.reply.text == "The car park has 40 places [2]."
    assert whole.first_s is None
    assert streamed.first_s
    assert (len(offered.whole_ms), len(offered.streamed_ms), len(offered.first_ms)) == (3, 2, 2)
    assert offered.routes == {"cloud": 5}


async def test_a_side_that_is_away_is_counted_and_ends_no_run() -> None:
    async with instant_backend() as url:
        origin = _origin(url)
    async with open_chat(GatewaySide((origin,), "")) as client:
        offered = await client.offer(["When?"] * 2, [0.0] * 2)
    assert [each.became for each in offered.samples] == ["failed"] * 2
    assert offered.whole_ms == offered.first_ms == (BUDGET_MS,) * 2


# --- what a reply counts as


def test_what_has_no_reply_counts_as_long_as_an_asker_waits() -> None:
    samples = (_sample("answered", 0.02), _sample("answered", 0.03, first_s=0.01), _sample("refused", 0.001))
    offered = Offered(samples, 1, Counter())
    assert offered.whole_ms == (20.0, BUDGET_MS, BUDGET_MS)
    assert offered.streamed_ms == (30.0, BUDGET_MS, BUDGET_MS)
    assert offered.first_ms == (10.0, BUDGET_MS, BUDGET_MS)
    assert offered.sent == 4


def test_an_error_in_a_stream_is_a_refusal_whatever_text_came_before() -> None:
    reply = published({"error": {"code": "busy", "message": "later"}}, "The counter")
    assert isinstance(reply, Refused)
    assert route_of(reply) == "refused: busy"


# --- the lines


async def test_a_round_has_all_that_the_lines_look_at() -> None:
    async with instant_backend() as url, open_chat(GatewaySide((_origin(url),), "")) as client:
        texts = [f"Number {number}?" for number in range(100)]
        load = GatewayLoad(client, Wordings(texts), Wordings(texts), block_s=0.5)
        samples = await load.block("1")
        without_cloud = await load.block("1", (25,), asks_cloud=False)
    ours, peer = put_together({"ours": samples, "plain": samples, "guarded": without_cloud})
    for line in LINES:
        assert line.value_of(ours) == line.value_of(peer) > 0
        for bar in line.bars:
            assert ours[bar.samples] if bar.of != "peer" else peer[bar.samples]
            assert bar.of != "ratio" or peer[bar.samples]


def test_a_question_of_the_cloud_is_held_against_the_peers_time_in_the_same_round() -> None:
    cloud = f"{WHOLE} {CLOUD}"
    taken: dict[str, Samples] = {
        "ours": {cloud: (30.0, 31.0, 90.0), CAPACITY: (50.0,)},
        "plain": {cloud: (12.0, 10.0, 11.0)},
        "guarded": {CAPACITY: (20.0,)},
    }
    ours, peer = put_together(taken)
    assert ours[BEYOND] == (20.0,)
    assert (ours[f"{CAPACITY}, {HOOKS}"], peer[f"{CAPACITY}, {HOOKS}"]) == ((50.0,), (20.0,))


def test_hooks_are_on_for_questions_and_answers_or_not_at_all() -> None:
    on, off = (configuration("http://127.0.0.1:1/v1", "sk-1", guarded=guarded) for guarded in (True, False))
    assert off["guardrails"] == []
    assert [each["litellm_params"]["mode"] for each in on["guardrails"]] == ["pre_call", "post_call"]  # type: ignore[attr-defined]


def _origin(url: str) -> str:
    return f"http://{urlsplit(url).netloc}"


def _sample(became: str, final_s: float, first_s: float | None = None) -> LoadSample:
    return LoadSample(late_s=0.0, final_s=final_s, first_s=first_s, became=became)
