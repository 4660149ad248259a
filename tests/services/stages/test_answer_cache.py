"""What the cloud model before: bounded, its tenant's own, gone with what it rests on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.escalation_site import question
from tidegate.schemas import Answer, Artefact, Draft
from tidegate.services.stages.drafter.answer_cache import MOST_CHARS, AnswerCache, CachedAnswer, key_of

LINEAGE = (
    Artefact("index", "kiosk", "i1"),
    Artefact("index", "hub/kiosk", "h1"),
    Artefact("policy", "safe", "p1"),
    Artefact("pack", "kiosk", "k1"),
    Artefact("model", "target", "m1"),
)
ASKED = question("Who is the chief executive?")


class Clock:
    """Seconds that pass when the test says so."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def cached(text: str = "Philippa Okonjo.") -> CachedAnswer:
    return CachedAnswer(Answer(text=text), Draft(ids=(1, 2), tokenizer="t"))


def cache_of(most: int = 8, age_s: float = 60.0, clock: Clock | None = None) -> AnswerCache:
    return AnswerCache(("kiosk", "shop"), most, age_s, clock or Clock())


@pytest.mark.parametrize(
    "again",
    [
        "Who is the chief executive?",
        "  who is  the\tChief Executive ",
        "“Who is the chief executive?!”",
        "\uff37ho is the chief executive…",
    ],
)
def test_the_same_question_is_the_same_however_it_is_typed(again: str) -> None:
    cache = cache_of()
    cache.put("kiosk", ASKED, cached(), LINEAGE)
    assert cache.get("kiosk", question(again)) == cached()


def test_instructions_are_the_same_to_the_letter_but_for_whose_data_they_hold() -> None:
    cache = cache_of()
    cache.put("kiosk", question(ASKED.text, instructions="Greet <PERSON_0123456789ab>."), cached(), LINEAGE)
    assert cache.get("kiosk", question(ASKED.text, instructions="Greet <PERSON_ba9876543210>.")) == cached()
    for other in ("Greet <EMAIL_0123456789ab>.", "greet <PERSON_0123456789ab>.", ""):
        assert cache.get("kiosk", question(ASKED.text, instructions=other)) is None


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("Who is the chief?", {}),
        ("Who was the chief executive?", {}),
        ("Who is the chief executive?", {"language": "de"}),
        ("Who is the chief executive?", {"instructions": "Be brief."}),
    ],
)
def test_another_question_or_another_instruction_is_another_one(text: str, more: dict[str, Any]) -> None:
    cache = cache_of()
    cache.put("kiosk", ASKED, cached(), LINEAGE)
    assert cache.get("kiosk", question(text, **more)) is None


def test_a_question_without_a_word_is_none() -> None:
    cache = cache_of()
    cache.put("kiosk", question("?!"), cached(), LINEAGE)
    assert cache.get("kiosk", question("?!")) is None
    assert len(cache) == 0


def put_again(cache: AnswerCache) -> None:
    cache.put("kiosk", ASKED, cached(), LINEAGE)


def get_again(cache: AnswerCache) -> None:
    cache.get("kiosk", ASKED)


@pytest.mark.parametrize("use", [put_again, get_again])
def test_where_there_is_no_room_the_longest_unused_goes(use: Callable[[AnswerCache], None]) -> None:
    cache = cache_of(2)
    cache.put("kiosk", ASKED, cached(), LINEAGE)
    cache.put("kiosk", question("And before?"), cached("Ada."), LINEAGE)
    use(cache)
    cache.put("kiosk", question("And after?"), cached("Eve."), LINEAGE)
    assert cache.get("kiosk", ASKED) == cached()
    assert cache.get("kiosk", question("And before?")) is None


@pytest.mark.parametrize(("one", "other"), [("costs 3.50?", "costs 350?"), ("at -5 degrees", "at 5 degrees")])
def test_what_stands_inside_a_word_counts(one: str, other: str) -> None:
    assert key_of(question(one)) != key_of(question(other))


def test_a_vault_token_counts_as_its_kind_and_is_not_held() -> None:
    one, other = (question(f"Is <IBAN_{digits * 6}> blocked?") for digits in ("0a", "1b"))
    assert key_of(one) == key_of(other) != key_of(question("Is <CARD_0a0a0a0a0a0a> blocked?"))


@pytest.mark.parametrize("changed", LINEAGE[:4], ids=lambda part: f"{part.kind} {part.id}")
def test_an_answer_goes_with_the_index_the_policy_or_the_pack_that_it_rests_on(changed: Artefact) -> None:
    cache = cache_of()
    for tenant in ("kiosk", "shop"):
        cache.observe_versions(tenant, LINEAGE)
        cache.put(tenant, ASKED, cached(), LINEAGE)
    cache.observe_versions("kiosk", LINEAGE)
    assert cache.get("kiosk", ASKED) == cached()
    cache.observe_versions("kiosk", (Artefact(changed.kind, changed.id, "new"),))
    assert cache.get("kiosk", ASKED) is None
    assert cache.get("shop", ASKED) == cached(), "what is new to one tenant says nothing of another"


def test_another_model_says_it_again_or_takes_it_back_and_is_no_reason_to_forget() -> None:
    cache = cache_of()
    cache.observe_versions("kiosk", LINEAGE)
    cache.put("kiosk", ASKED, cached(), LINEAGE)
    cache.observe_versions("kiosk", (Artefact("model", "target", "m2"), Artefact("index", "another", "1")))
    assert cache.get("kiosk", ASKED) == cached()


def test_no_tenant_is_given_another_s_answers_and_a_stranger_has_no_cache() -> None:
    cache = cache_of()
    cache.put("kiosk", ASKED, cached(), LINEAGE)
    cache.put("stranger", ASKED, cached(), LINEAGE)
    assert cache.get("shop", ASKED) is None
    assert cache.get("stranger", ASKED) is None
    assert len(cache) == 1


def test_an_answer_of_any_length_is_not_remembered() -> None:
    cache = cache_of()
    cache.put("kiosk", ASKED, cached("x" * (MOST_CHARS + 1)), LINEAGE)
    assert len(cache) == 0


def test_an_answer_that_the_cloud_has_not_given_for_too_long_is_forgotten_however_often_it_was_recalled() -> None:
    clock = Clock()
    cache = cache_of(age_s=60.0, clock=clock)
    cache.put("kiosk", ASKED, cached(), LINEAGE)
    clock.now_s = 50.0
    assert cache.get("kiosk", ASKED) == cached()
    cache.put("kiosk", ASKED, cached(), LINEAGE)
    clock.now_s = 109.0
    assert cache.get("kiosk", ASKED) == cached()
    clock.now_s = 110.0
    assert cache.get("kiosk", ASKED) is None
    assert len(cache) == 0


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["remember", "recall", "forget", "wait", "change"]),
        st.sampled_from(["kiosk", "shop"]),
        st.integers(0, 9),
    ),
    max_size=80,
)


@given(acts=ACTS, most=st.integers(0, 5))
def test_it_holds_no_more_than_it_may_for_no_longer_than_it_may_and_the_latest_answers(
    acts: list[tuple[str, str, int]], most: int
) -> None:
    clock = Clock()
    cache = cache_of(most, 10.0, clock)
    model: dict[tuple[str, int], tuple[str, float, int]] = {}
    index = dict.fromkeys(("kiosk", "shop"), 0)
    for number, (act, tenant, which) in enumerate(acts):
        asked, rests_on = question(f"question {which}"), (Artefact("index", tenant, str(index[tenant])),)
        cache.observe_versions(tenant, rests_on)
        if act == "remember":
            cache.put(tenant, asked, cached(str(number)), rests_on)
            model[tenant, which] = str(number), clock.now_s, index[tenant]
        elif act == "forget":
            cache.remove(tenant, asked)
            model.pop((tenant, which), None)
        elif act == "wait":
            clock.now_s += which
        elif act == "change":
            index[tenant] += 1
            cache.observe_versions(tenant, (Artefact("index", tenant, str(index[tenant])),))
        found = cache.get(tenant, asked)
        if found is not None:
            text, at_s, version = model[tenant, which]
            assert found == cached(text)
            assert clock.now_s - at_s < 10.0
            assert version == index[tenant]
        elif act == "remember":
            assert most == 0, "what was just model is known"
        assert len(cache) <= 2 * most
        assert sum(cache.get(tenant, question(f"question {each}")) is not None for each in range(10)) <= most
