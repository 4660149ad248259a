"""Where training says that an answer stands in its prompt: true of every sample, or attention is taught nonsense."""

from __future__ import annotations

import json
import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.infra.models import TOKENIZER
from tidegate.infra.models.data import copying, generator, guiding, prompts


@cache
def training() -> generator.Training:
    return generator.Training()


def words(ids: list[int]) -> str:
    text: str = prompts.Prompts(TOKENIZER).decoded(ids)
    return text


@given(st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_a_source_is_the_token_that_comes_next_and_a_sentence_ends_where_it_says(seed: int) -> None:
    sample = training().sample(random.Random(seed))
    builder = prompts.Prompts(TOKENIZER)
    prompt, answer = builder.question(sample.question, sample.passages), builder.answer(sample.parts)
    guide, row = guiding.answering(prompt, answer), prompt + answer
    assert all(row[ask + 1] == row[look] and look < len(prompt) <= ask + 1 for ask, look in guide.sources)
    outcome = [len(builder.text(" " + sentence)) for _, sentence in sample.parts]
    assert len(guide.sources) == sum(outcome)
    ends = {look for _, look in guide.sentences}
    assert 0 in ends
    assert {position for position, right in guide.verdicts if right} == ends - {0}
    assert len(ends) == len(sample.parts) + 1
    first = prompt.index(prompts.PASSAGE)
    assert all(
        bool(output) == (prompt[position] in prompt[2:first]) and position > first for position, output in guide.echoes
    )


@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_copy_tasks_are_guided_alike(seed: int) -> None:
    prompt, answer = copying.example(random.Random(seed), 2048, 0.3)
    guide, row = guiding.answering(prompt, answer), prompt + answer
    assert all(row[ask + 1] == row[look] for ask, look in guide.sources)
    assert all(look == 0 or look < len(prompt) for _, look in guide.sentences)


@pytest.mark.parametrize(
    ("schema", "text", "compact", "seen"),
    [
        ("city:string", "To Bravo Town.", {"city": "Bravo Town"}, "city Bravo Town"),
        ("seats:integer", "4 seats, 27 coats", {"seats": 27}, "seats 27"),
        ("fee:number bay:string", "The fee is £12.50 at B7", {"fee": 12.5, "bay": "B7"}, "fee 12.5 bay B7"),
        ("open:boolean day:date?", "with open", {"open": True, "day": None}, "open day"),
        ("day:date", "on 4 May 2027", {"day": "2027-05-04"}, "day"),
    ],
)
def test_a_name_is_looked_for_in_the_schema_and_a_value_in_the_text(
    schema: str, text: str, compact: dict[str, object], seen: str
) -> None:
    builder = prompts.Prompts(TOKENIZER)
    outcome = json.dumps(compact, separators=(",", ":"))
    guide = guiding.fields(builder, schema, text, outcome)
    prompt = builder.extraction(schema, text)
    looked = "".join(words([prompt[look]]).strip() for _, look in guide.sources)
    assert looked == seen.replace(" ", "")
    row = prompt + builder.json(outcome)
    output = "".join(words([row[ask + 1]]).strip() for ask, _ in guide.sources)
    assert output == looked


@given(st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_what_answers_is_about_the_thing_and_the_attribute_that_were_asked_for(seed: int) -> None:
    r = random.Random(seed)
    sample = training().sample(r)
    builder = prompts.Prompts(TOKENIZER)
    prompt = builder.question(sample.question, sample.passages)
    guide = guiding.answering(prompt, builder.answer(sample.parts))
    guiding.likened(guide, builder, prompt, sample.relevance)
    right = {position for position, outcome in guide.verdicts if outcome}
    assert len(guide.things) == len(guide.attributes) == len(sample.relevance)
    assert all(outcome for position, outcome in [*guide.things, *guide.attributes] if position in right)
    if sample.kind == "two passages":
        assert {position for position, _ in guide.firsts} == right
        assert sum(outcome for _, outcome in guide.firsts) == 1


def test_an_abstention_looks_at_the_beginning() -> None:
    builder = prompts.Prompts(TOKENIZER)
    prompt = builder.question("What is the fee?", ["It opens at nine."])
    guide = guiding.answering(prompt, builder.answer(()))
    assert guide.sentences == [(len(prompt) - 1, 0)]
    assert not guide.sources
    assert not any(right for _, right in guide.verdicts)
