"""Remote speculation: the site drafts, the hub verifies, and the answer is the hub's own, word for word."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from tests.support import tiny_models
from tests.support.drawn_session import Draws, drawn, noise, put
from tests.support.verification_hub import CONTEXT, LOOP, alone, asked, cloud, without_costs
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import Accepted, Begin, Draft, Message, Propose, Refused, Verified, decode, encode
from tidegate.schemas.uplink import MOST_PROPOSED
from tidegate.schemas.verification_subjects import verification_session
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.site_model import SiteModel
from tidegate.services.stages.drafter.interactive import InteractiveVerifier
from tidegate.services.uplink.verification_client import (
    MOST_BEGINNINGS,
    SessionLostError,
    VerificationClient,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return CausalLM(tiny_models.save(tmp_path_factory.mktemp("target"), seed=4, context=CONTEXT))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return CausalLM(tiny_models.save(tmp_path_factory.mktemp("other"), seed=5, layers=1, context=CONTEXT))


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus("site1")


unhurried = float
"""A clock that stands at 0.0."""


@pytest.mark.parametrize("quotes", [False, True], ids=["free", "quoting"])
@pytest.mark.parametrize("k", [1, 6, 64])
@pytest.mark.parametrize("drafts", ["right", "wrong"])
async def test_a_model_that_drafts_changes_no_word(
    bus: MemoryBus, lm: CausalLM, other: CausalLM, drafts: str, k: int, quotes: bool
) -> None:
    fact = asked(plan_=msgspec.structs.replace(LOOP, draft_length=k))
    async with cloud(bus, lm, quotes=quotes) as hub:
        answer, output = await alone(hub, fact)
        writer = SiteModel(lm if drafts == "right" else other)
        verified = await InteractiveVerifier(bus, "site1", lambda _: writer, clock=unhurried).verdict(fact)
        cost = verified.answer.speculation
        assert (without_costs(verified.answer), hub.generated[-1]) == (answer, output)
        assert cost is not None
        assert cost == hub.counted[-1]
        assert 0 <= cost.accepted <= cost.drafted
        assert cost.draft_bytes > 0
        if drafts == "right" and not quotes:
            assert cost.accepted == cost.drafted
            assert cost.steps <= 2 + cost.tokens // (k + 1), "each round says what was drafted, and one token more"
        assert cost.steps <= cost.tokens


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(noise(3), id="noise"),
        pytest.param(lambda ids, k: [ids[-1]] * k, id="the same for ever"),
        pytest.param(lambda _, k: [2] * k, id="the end at once"),
        pytest.param(lambda _, __: [], id="nothing"),
        pytest.param(lambda _, k: [6, *range(10, 9 + k)], id="controls and marks"),
    ],
)
@pytest.mark.parametrize("quotes", [False, True], ids=["free", "quoting"])
async def test_an_adversary_that_drafts_changes_no_word(
    bus: MemoryBus, lm: CausalLM, draw: Draws, quotes: bool
) -> None:
    fact = asked()
    async with cloud(bus, lm, quotes=quotes) as hub:
        expected = await alone(hub, fact)
        verified = await drawn(bus, lm.tokens.digest, fact, draw, unhurried).verdict()
        assert (without_costs(verified.answer), hub.generated[-1]) == expected


@pytest.mark.parametrize("cut", [1, 3])
async def test_what_was_shipped_begins_the_session_if_it_is_of_the_same_tokenizer(
    bus: MemoryBus, lm: CausalLM, cut: int
) -> None:
    async with cloud(bus, lm) as hub:
        _, output = await alone(hub, asked())
        for digest, accepted in ((lm.tokens.digest, cut), ("of another", 0)):
            draft = Draft(ids=(*output[:cut], (output[cut] + 1) % 400), tokenizer=digest)
            verified = await drawn(bus, lm.tokens.digest, asked(draft=draft), lambda _, __: [], unhurried).verdict()
            assert verified.answer.speculation is not None
            assert verified.answer.speculation.accepted == accepted
            assert hub.generated[-1] == output


async def test_a_hub_that_has_forgotten_the_session_is_sent_the_whole_prefix_and_the_receipt_has_both(
    bus: MemoryBus, lm: CausalLM
) -> None:
    """The session expires while the site drafts, once."""
    async with cloud(bus, lm, idle_s=0.05) as hub:
        fact = asked()
        expected = await alone(hub, fact)
        rounds = 0

        async def guess(_: Sequence[int], __: int) -> list[int]:
            nonlocal rounds
            rounds += 1
            async with asyncio.timeout(30):
                while rounds == 3 and len(hub.sessions):  # noqa: ASYNC110 - it is the hub's own timer that is waited for
                    await asyncio.sleep(0.01)
            return []

        async def ask(worker: str, request: Message, timeout_s: float) -> Message:
            return await put(bus, worker, request, timeout_s)

        made = VerificationClient(fact, lm.tokens.digest, send=ask, open_drafter=lambda _, __: guess, clock=unhurried)
        verified = await made.verdict()
        cost = verified.answer.speculation
        assert (without_costs(verified.answer), hub.generated[-1]) == expected
        assert cost is not None
        assert cost.tokens == hub.counted[-1].tokens
        assert (cost.drafted, cost.accepted) == (0, 0), "what was said is no draft of the site's"
        assert cost.steps == cost.tokens, "three steps, then one for what they said, which says a fourth token"
        assert hub.counted[-1].steps == cost.steps - 3


async def test_a_request_that_came_to_the_hub_twice_has_the_session_begun_anew(bus: MemoryBus, lm: CausalLM) -> None:
    async with cloud(bus, lm) as hub:
        fact, sent = asked(), list[Message]()
        expected = await alone(hub, fact)

        async def guess(_: Sequence[int], __: int) -> list[int]:
            return []

        async def ask(worker: str, request: Message, timeout_s: float) -> Message:
            sent.append(request)
            if len(sent) == 3:
                await put(bus, worker, request, timeout_s)
            return await put(bus, worker, request, timeout_s)

        made = VerificationClient(fact, lm.tokens.digest, send=ask, open_drafter=lambda _, __: guess, clock=unhurried)
        assert (without_costs((await made.verdict()).answer), hub.generated[-1]) == expected
        assert [isinstance(each, Begin) for each in sent[:4]] == [True, False, False, True]


async def test_a_site_gives_up_when_the_hub_loses_every_session(bus: MemoryBus, lm: CausalLM) -> None:
    async with cloud(bus, lm) as hub:

        def draw(_: Sequence[int], __: int) -> list[int]:
            hub.sessions.close()
            return []

        with pytest.raises(SessionLostError, match=f"lost it {MOST_BEGINNINGS} times"):
            await drawn(bus, lm.tokens.digest, asked(), draw, unhurried).verdict()
        assert len(hub.generated) == MOST_BEGINNINGS


async def test_what_the_hub_keeps_is_bounded_and_expires(bus: MemoryBus, lm: CausalLM) -> None:
    async with cloud(bus, lm, most=2, idle_s=0.2) as hub:
        begin = [Begin(escalated=asked(f"r{n}"), tokenizer=lm.tokens.digest) for n in range(4)]
        replies = await asyncio.gather(*(put(bus, "any", each) for each in begin))
        refused = [reply for reply in replies if isinstance(reply, Refused)]
        assert [each.code for each in refused] == ["busy", "busy"]
        assert len(hub.sessions) == 2
        with pytest.raises(SessionLostError, match="the hub declined: 2 sessions are open already"):
            await InteractiveVerifier(bus, "site1", lambda _: SiteModel(lm)).verdict(asked("r9"))
        async with asyncio.timeout(30):
            while len(hub.sessions):  # noqa: ASYNC110 - it is the hub's own timer that is waited for
                await asyncio.sleep(0.01)
        assert isinstance(await put(bus, "any", begin[0]), Accepted)


async def test_a_site_that_has_all_sessions_makes_room_for_another_one(bus: MemoryBus, lm: CausalLM) -> None:
    async with cloud(bus, lm, most=3) as hub:
        crowd = [await put(bus, "any", Begin(escalated=asked(f"r{n}"), tokenizer=lm.tokens.digest)) for n in range(3)]
        codes = []
        for number in range(2):
            other = Begin(escalated=asked(f"s{number}", site="site2"), tokenizer=lm.tokens.digest)
            reply = await bus.request(verification_session("site2", "kiosk"), encode(other), timeout_s=30.0)
            codes.append(getattr(decode(reply, Accepted, Verified, Refused), "code", ""))
        assert codes == ["", "busy"], "and it has no more than its share"
        assert len(hub.sessions) == 3
        replies = []
        for opened in crowd:
            assert isinstance(opened, Accepted)
            replies.append(await put(bus, opened.worker, Propose(session=opened.session, position=len(opened.ids))))
        assert [getattr(reply, "code", "") for reply in replies] == ["unknown_session", "", ""]


async def test_two_requests_at_once_do_not_share_a_session(bus: MemoryBus, lm: CausalLM) -> None:
    async with cloud(bus, lm):
        opened = await put(bus, "any", Begin(escalated=asked(), tokenizer=lm.tokens.digest))
        assert isinstance(opened, Accepted)
        more = Propose(session=opened.session, position=len(opened.ids))
        replies = await asyncio.gather(*(put(bus, opened.worker, more) for _ in range(2)))
        assert [type(reply) for reply in replies] == [Accepted, Refused]


async def test_what_makes_no_sense_is_refused_in_words_and_the_session_goes_on(bus: MemoryBus, lm: CausalLM) -> None:
    async with cloud(bus, lm) as hub:
        digest = lm.tokens.digest
        for begin, code in (
            (Begin(escalated=asked(), tokenizer="of another"), "wrong_tokenizer"),
            (Begin(escalated=asked(), tokenizer=digest, ids=(lm.vocabulary,)), "out_of_range"),
            (Begin(escalated=asked(), tokenizer=digest, prefix=(1 << 30,)), "out_of_range"),
            (Begin(escalated=asked(), tokenizer=digest, ids=(-1,)), "refused_at_hub"),
            (Begin(escalated=asked(), tokenizer=digest, ids=(9,) * (MOST_PROPOSED + 1)), "refused_at_hub"),
            (Begin(escalated=asked(), tokenizer=digest, prefix=(9,) * 513), "refused_at_hub"),
            (Begin(escalated=asked(site="site2"), tokenizer=digest), "refused_at_hub"),
        ):
            refused = await put(bus, "any", begin)
            assert isinstance(refused, Refused)
            assert (refused.code, bool(refused.reason)) == (code, True)
        assert len(hub.sessions) == 0
        opened = await put(bus, "any", Begin(escalated=asked(), tokenizer=digest))
        assert isinstance(opened, Accepted)
        for propose, code in (
            (Propose(session=opened.session, position=1, ids=(lm.vocabulary,)), "out_of_range"),
            (Propose(session=opened.session, position=1, ids=(9,) * (MOST_PROPOSED + 1)), "unreadable"),
            (Propose(session="of-somebody-else", position=1), "unknown_session"),
        ):
            refused = await put(bus, opened.worker, propose)
            assert isinstance(refused, Refused)
            assert (refused.code, bool(refused.reason)) == (code, True)
        assert isinstance(await put(bus, opened.worker, Propose(session=opened.session, position=1)), Accepted)
        theirs = encode(Propose(session=opened.session, position=1))
        for site, tenant in (("site2", "kiosk"), ("site1", "stranger")):
            stolen = await bus.request(verification_session(site, tenant, opened.worker), theirs, timeout_s=5.0)
            assert decode(stolen, Refused).code == "refused_at_hub"
            assert "another site's, or of another tenant" in decode(stolen, Refused).reason
        refused = await put(bus, opened.worker, Propose(session=opened.session, position=1))
        assert getattr(refused, "code", "") == "out_of_step"
        for garbage in (b"", b"\x81garbage", encode(asked())):
            reply = await bus.request(verification_session("site1", "kiosk"), garbage, timeout_s=5.0)
            assert decode(reply, Refused).code == "refused_at_hub"


async def test_a_question_that_the_hub_has_nothing_for_takes_no_pass(bus: MemoryBus, lm: CausalLM) -> None:
    async with cloud(bus, lm, is_patient=False) as hub:
        verified = await InteractiveVerifier(bus, "site1", lambda _: SiteModel(lm)).verdict(asked(tenant="stranger"))
        assert (verified.answer.text, verified.answer.speculation, len(hub.sessions)) == ("", None, 0)


async def test_a_model_that_diverges_is_stopped_at_once_and_the_reader_stands(bus: MemoryBus, lm: CausalLM) -> None:
    async with cloud(bus, lm, is_patient=False) as hub:
        answer, _ = await hub.answerer.answer(asked())
        verified = await InteractiveVerifier(bus, "site1", lambda _: SiteModel(lm)).verdict(asked())
        assert without_costs(verified.answer) == without_costs(answer)
        assert "Philippa Okonjo" in verified.answer.text
        assert verified.answer.speculation is not None
        assert verified.answer.speculation.steps == 1
        assert (hub.counted[-1], hub.diverged) == (verified.answer.speculation, [True, True])


async def test_with_nobody_at_the_hub_the_session_is_lost_at_once(bus: MemoryBus, lm: CausalLM) -> None:
    with pytest.raises(SessionLostError, match="cannot be reached"):
        await InteractiveVerifier(bus, "site1", lambda _: SiteModel(lm)).verdict(asked())


async def test_beyond_so_many_at_once_no_session_is_begun(bus: MemoryBus, lm: CausalLM) -> None:
    async with cloud(bus, lm):
        run = InteractiveVerifier(bus, "site1", lambda _: SiteModel(lm), at_once=1, clock=unhurried).verdict
        outcomes = await asyncio.gather(run(asked()), run(asked("r2")), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Verified, SessionLostError]
        assert isinstance(await run(asked("r3")), Verified)


async def test_a_session_leaves_the_time_that_the_cloud_needs_alone(bus: MemoryBus, lm: CausalLM) -> None:
    """A second passes with every draft; the stream needs three, and publishing one."""
    plan_ = msgspec.structs.replace(LOOP, shares_ms={"publisher": 1000.0}, forecast_ms={"cloud_stream": 3000.0})
    now_s = 0.0

    def draw(_: Sequence[int], __: int) -> list[int]:
        nonlocal now_s
        now_s += 1.0
        return []

    fact = msgspec.structs.replace(asked(plan_=plan_), deadline_at_ms=9000)
    async with cloud(bus, lm):
        with pytest.raises(SessionLostError, match="time that a session may take is up") as lost:
            await drawn(bus, lm.tokens.digest, fact, draw, lambda: now_s).verdict()
        assert now_s == 5.0
        assert lost.value.left_ms == 0.0
