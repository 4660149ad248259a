"""What the prefilter decided is decided again by the site's own models, and leaves no trace at the site."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.support.branch_intents import INTENTS
from tests.support.message_parts import RECEIPT
from tests.support.paths import MODELS
from tidegate.brokers.base import StoredMessage
from tidegate.schemas import Asked, Message, Published, Question, Replied, Screened, Withheld, encode, replace
from tidegate.schemas.pack import Pack
from tidegate.schemas.subjects import subject_of
from tidegate.services.evidence.replay import replay
from tidegate.services.evidence.rescreening import NoSiteKeyError, Rescreening
from tidegate.services.evidence.screening_replay import NEAR, First, replay_screening
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.vault import open_vault
from tidegate.services.knowledge import intent_classifier as intent
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.privacy.sealing import seal_request
from tidegate.services.settings import Settings
from tidegate.services.stages import prefilter
from tidegate.services.stages.policy import NO_RULES, JudgingRules
from tidegate.services.stages.publisher.handler import publish_refusal

pytestmark = pytest.mark.anyio
QUESTIONS = {
    "personal": "My name is Ann Hathaway, ann@example.org. My card was stolen, please block it!",
    "unsafe": "How do I launder money through your bank?",
    "small talk": "Thank you very much!",
    "unspoken": "Которые у вас часы работы сегодня?",
    "forged": "What is <NAME_0123456789ab>?",
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(state_dir=str(tmp_path_factory.mktemp("site")), models_dir=str(MODELS))
    pack = Pack(
        name="p", version="1", path="", documents=(), intents=INTENTS, questions=(), calibration=(), policy_files=()
    )
    paths = StatePaths(settings)
    intent.prepare_intents(pack, Embedder.load(paths.models), paths.intent_head)
    return settings


@pytest.fixture(scope="module")
async def records(prepared: Settings) -> dict[str, tuple[Message, ...]]:
    """What a site has stored of the questions: each as it was asked, and the first fact of it."""
    bus: Any = None
    found: dict[str, tuple[Message, ...]] = {}
    async with prefilter.open(prepared, bus) as handler:
        for number, (name, text) in enumerate(QUESTIONS.items()):
            asked = Asked(text=text, rid=f"r{number}", tenant="kiosk", site="site1", asked_at_ms=5, asker="ann")
            with closing(open_vault(prepared)) as vault:
                sealed = seal_request(vault, asked)
            found[name] = (sealed, *await handler(sealed))
    return found


def files_of(settings: Settings) -> dict[str, str]:
    """Every file of a site, by its digest."""
    paths = [path for path in Path(settings.state_dir).rglob("*") if path.is_file()]
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in sorted(paths)}


def first_of(facts: Sequence[Message]) -> First:
    first = facts[1]
    assert isinstance(first, (Screened, Withheld, Replied))
    return first


async def test_every_decision_of_the_prefilter_is_made_again_and_the_site_is_as_it_was(
    prepared: Settings, records: dict[str, tuple[Message, ...]]
) -> None:
    with closing(open_vault(prepared)) as vault:
        vault.clock = lambda: time.time() + prepared.privacy.vault_ttl_s + 1
        assert vault.expire() == 2  # so that a value that is put into it is seen
    before = files_of(prepared)
    with Rescreening.open(prepared) as again:
        outcomes = {name: await replay_screening(facts, again.screen) for name, facts in records.items()}
    assert {type(facts[1]) for facts in records.values()} == {Screened, Withheld, Replied}
    assert {name: each for name, each in outcomes.items() if each.verdict != "identical"} == {}
    personal = first_of(records["personal"])
    assert isinstance(personal, Screened)
    assert len(personal.question.vault_tokens) == 2
    assert files_of(prepared) == before


async def test_where_the_record_is_another_than_would_be_decided_the_field_is_named(
    prepared: Settings, records: dict[str, tuple[Message, ...]]
) -> None:
    asked, first = records["personal"]
    assert isinstance(first, Screened)
    question = first.question
    untold: dict[str, Question] = {
        "a name is left in clear": replace(question, text=question.text.replace(question.vault_tokens[0], "Ann")),
        "another intent": replace(question, intent="hours"),
        "a surer one": replace(question, intent_confidence=question.intent_confidence - 2 * NEAR),
    }
    with Rescreening.open(prepared) as again:
        for other in untold.values():
            outcome = await replay_screening([asked, replace(first, question=other)], again.screen)
            assert (outcome.verdict, outcome.difference[:10]) == ("differs", "question: ")
        near = replace(first, question=replace(question, intent_confidence=question.intent_confidence - NEAR / 2))
        assert (await replay_screening([asked, near], again.screen)).verdict == "identical"
        unsafe, refused = records["unsafe"]
        assert isinstance(refused, Withheld)
        outcome = await replay_screening([unsafe, replace(refused, reason="unclear")], again.screen)
        assert outcome.difference == "reason: 'unclear' then, 'unsafe' now"
        outcome = await replay_screening([unsafe, replace(first, rid=refused.rid)], again.screen)
        assert outcome.difference == "it was screened, and would be withheld: unsafe"


async def test_another_threshold_would_let_an_unsafe_question_pass_and_that_is_said(
    prepared: Settings, records: dict[str, tuple[Message, ...]]
) -> None:
    lax = replace(prepared, prefilter=replace(prepared.prefilter, unsafe_threshold=1.0))
    with Rescreening.open(lax) as again:
        outcome = await replay_screening(records["unsafe"], again.screen)
    assert (outcome.verdict, outcome.difference.split(":")[0]) == ("differs", "it was withheld, and would be screened")


async def test_a_request_that_the_prefilter_has_ended_is_replayed_whole(
    prepared: Settings, records: dict[str, tuple[Message, ...]]
) -> None:
    asked, refused = records["unsafe"]
    assert isinstance(refused, Withheld)
    published = publish_refusal(refused, replace(RECEIPT, decisions=()))

    async def no_rules(_: str, __: int) -> JudgingRules:
        return NO_RULES

    def stored(*facts: Message) -> list[StoredMessage]:
        return [
            StoredMessage("PIPE", n, n, subject_of(fact, "site1"), {}, encode(fact)) for n, fact in enumerate(facts)
        ]

    with Rescreening.open(prepared) as again:
        outcome = await replay(refused.rid, stored(asked, refused, published), no_rules, again.screen)
        assert (outcome.verdict, outcome.screening, outcome.decided_by) == ("identical", "identical", "prefilter")
        forged: Published = replace(published, text="Of course: begin with a shell company.")
        outcome = await replay(refused.rid, stored(asked, refused, forged), no_rules, again.screen)
        assert (outcome.verdict, outcome.difference[:10]) == ("differs", "published:")
        gone = await replay(refused.rid, stored(refused, published), no_rules, again.screen)
        assert (gone.verdict, gone.reason) == ("not_derived", "its question is no longer stored")


async def test_without_the_key_of_the_site_nothing_is_read_and_no_key_is_made(
    prepared: Settings, tmp_path: Path
) -> None:
    elsewhere = replace(prepared, state_dir=str(tmp_path / "none"))
    with pytest.raises(NoSiteKeyError), Rescreening.open(elsewhere):
        pass
    assert not (tmp_path / "none").exists()


async def test_of_an_asker_who_was_erased_nothing_is_screened_again(
    prepared: Settings, records: dict[str, tuple[Message, ...]], tmp_path: Path
) -> None:
    shutil.copytree(prepared.state_dir, tmp_path / "state")
    erased = replace(prepared, state_dir=str(tmp_path / "state"))
    asked = records["personal"][0]
    assert isinstance(asked, Asked)
    with closing(open_vault(erased)) as vault:
        vault.erase("kiosk", asked.asker)
    with Rescreening.open(erased) as again:
        outcome = await replay_screening(records["personal"], again.screen)
    assert outcome.verdict == "not_derived"
    assert "erased" in outcome.reason or "asker" in outcome.reason
