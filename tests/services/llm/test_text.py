"""Text to ids and back, the two prompts, and what an answer says and cites."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import tiny_models
from tidegate.services.llm.text.answers import parse_answer, parse_complete_sentences
from tidegate.services.llm.text.prompts import answer_prompt, describe_fields, json_prompt
from tidegate.services.llm.text.tokenizer import CONTROLS, MARKS, TokenizerRefusedError, TokenText

TOKENS = TokenText(tiny_models.tokenizer_json())
ONE, TWO = TOKENS.FIRST_MARK, TOKENS.FIRST_MARK + 1


def ids_of(*parts: int | str) -> list[int]:
    """Marks as numbers, text as it is written."""
    return [each for part in parts for each in ([part] if isinstance(part, int) else TOKENS.encode(part))]


class TestTokens:
    @given(st.text())
    def test_text_comes_back_as_it_was(self, text: str) -> None:
        assert TOKENS.decode(TOKENS.encode(text)) == text.encode("utf-8", "replace").decode()

    @given(st.lists(st.sampled_from([*CONTROLS, *MARKS, "a", " ", "[", "é"]), max_size=8).map("".join))
    def test_what_people_write_is_never_a_control(self, text: str) -> None:
        ids = TOKENS.encode(text)
        assert not any(TOKENS.is_control(each) for each in ids)
        assert TOKENS.decode(ids) == text

    def test_marks_have_numbers_and_no_text(self) -> None:
        assert [TOKENS.marked(each) for each in (ONE, TWO, ONE + 8, ONE + 9, TOKENS.END)] == [1, 2, 9, None, None]
        assert TOKENS.decode([TOKENS.BEGIN, ONE, *TOKENS.encode("a"), TOKENS.END]) == "a"

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda stored: stored["model"]["vocab"].pop("<|eos|>"), "<|eos|>"),
            (lambda stored: stored["model"]["vocab"].update({"[3]": 399}), r"\[3\]"),
            (lambda stored: stored.update(decoder=None), "ByteLevel"),
            (lambda stored: stored.pop("model"), "no tokenizer.json"),
        ],
    )
    def test_another_kind_of_tokenizer_is_refused(self, change: Any, reason: str) -> None:
        stored = json.loads(tiny_models.tokenizer_json())
        change(stored)
        with pytest.raises(TokenizerRefusedError, match=reason):
            TokenText(json.dumps(stored).encode())

    def test_the_digest_is_of_every_byte(self) -> None:
        assert TokenText(tiny_models.tokenizer_json() + b" ").digest != TOKENS.digest


class TestPrompts:
    def test_a_question_with_passages(self) -> None:
        prompt = answer_prompt(TOKENS, "Why [1]?", ["One.", "Two."])
        expected = [
            1,
            3,
            *TOKENS.encode("Why [1]?"),
            4,
            ONE,
            *TOKENS.encode(" One."),
            4,
            TWO,
            *TOKENS.encode(" Two."),
            5,
        ]
        assert list(prompt.ids) == expected
        assert prompt.passages == 2

    @given(
        st.text(max_size=400),
        st.lists(st.text(max_size=600), max_size=12),
        st.integers(160, 700),
    )
    def test_it_never_exceeds_its_budget_and_keeps_its_form(
        self, question: str, passages: list[str], budget: int
    ) -> None:
        prompt = answer_prompt(TOKENS, question, passages, budget)
        assert len(prompt.ids) <= budget
        assert prompt.ids[:2] == (TOKENS.BEGIN, TOKENS.QUESTION)
        assert prompt.ids[-1] == TOKENS.ANSWER
        marks = [TOKENS.marked(each) for each in prompt.ids if TOKENS.marked(each)]
        assert marks == list(range(1, prompt.passages + 1))
        assert prompt.passages <= min(9, len(passages))

    def test_the_last_passage_is_cut_and_the_rest_left_out(self) -> None:
        passage = "The branch opens at nine on Saturday. " * 8
        prompt = answer_prompt(TOKENS, "When?", [passage] * 9, 300)
        whole = len(TOKENS.encode(" " + passage))
        assert 1 < prompt.passages < 9
        assert len(prompt.ids) > 300 - whole
        assert len(prompt.ids) <= 300

    def test_too_small_a_budget_is_refused(self) -> None:
        with pytest.raises(ValueError, match="160"):
            answer_prompt(TOKENS, "When?", [], 159)

    def test_fields_and_a_text(self) -> None:
        fields = describe_fields(
            {
                "name": {"type": "string"},
                "count": {"type": ["integer", "null"]},
                "price": {"type": "number"},
                "open": {"type": "boolean"},
                "kind": {"enum": ["a", "b", None]},
                "when": {"type": "string", "format": "date"},
                "fixed": {"const": 3},
                "else": {},
            }
        )
        assert fields == (
            "name:string count:integer? price:number open:boolean kind:enum(a|b)? when:date fixed:enum(3) else:string"
        )
        prompt = json_prompt(TOKENS, "a:string", "<|json|> x")
        assert list(prompt) == [1, 8, *TOKENS.encode("a:string"), 7, *TOKENS.encode("<|json|> x"), 9]
        assert len(json_prompt(TOKENS, "a:string", "x" * 900, 100)) == 100


class TestAnswers:
    @pytest.mark.parametrize(
        ("ids", "sentences"),
        [
            (ids_of(ONE, " It opens at nine."), [("It opens at nine.", 1)]),
            (ids_of(ONE, " It opens. ", TWO, " It closes."), [("It opens.", 1), ("It closes.", 2)]),
            (ids_of(ONE, " It opens. It closes.", TOKENS.END), [("It opens.", 1), ("It closes.", 1)]),
            (ids_of(" Uncited. ", TWO, " Cited"), [("Uncited.", 0), ("Cited", 2)]),
            (ids_of(TWO, " Ask Dr. Vale at 3.5 percent, e.g. now. Then go!"),
             [("Ask Dr. Vale at 3.5 percent, e.g. now.", 2), ("Then go!", 2)]),
            (ids_of(ONE, ' He said "Stop." Then he went.'), [('He said "Stop."', 1), ("Then he went.", 1)]),
            (ids_of(ONE, " 1. Open the app."), [("1. Open the app.", 1)]),
            (ids_of(ONE, TWO, " x"), [("x", 2)]),
            ([], []),
        ],
    )  # fmt: skip
    def test_what_is_said_and_cited(self, ids: list[int], sentences: list[tuple[str, int]]) -> None:
        reading = parse_answer(TOKENS, ids)
        assert [(each.text, each.passage) for each in reading.sentences] == sentences
        assert reading.text == " ".join(text for text, _ in sentences)
        assert not reading.is_none

    def test_none_says_nothing(self) -> None:
        reading = parse_answer(TOKENS, [TOKENS.NONE, TOKENS.END])
        assert reading.is_none
        assert not reading.sentences
        assert parse_complete_sentences(TOKENS, [TOKENS.NONE]).is_none

    def test_each_passage_is_cited_once_in_order(self) -> None:
        assert parse_answer(TOKENS, ids_of(TWO, " a. ", ONE, " b. ", TWO, " c.")).cited == (2, 1)

    def test_a_sentence_is_complete_when_nothing_can_change_it(self) -> None:
        assert not parse_complete_sentences(TOKENS, ids_of(ONE, " It costs 3.")).sentences
        assert not parse_complete_sentences(TOKENS, ids_of(ONE, " It costs 3.5 percent")).sentences
        (only,) = parse_complete_sentences(TOKENS, ids_of(ONE, " It costs three. And")).sentences
        assert (only.text, only.passage) == ("It costs three.", 1)
        (only,) = parse_complete_sentences(TOKENS, ids_of(ONE, " It costs three.", TWO)).sentences
        assert only.text == "It costs three."

    WORDS = st.sampled_from(
        [" It", " costs", " 3", ".", "5", " Dr", ". ", "!", ' "', "é", " Saturday", "\n", ONE, TWO, "?", "…", " e.g"]
    )

    @given(st.lists(WORDS, max_size=25))
    def test_what_was_complete_stays_as_it_was(self, parts: list[int | str]) -> None:
        ids = ids_of(*parts)
        whole = parse_answer(TOKENS, ids).sentences
        before: tuple[Any, ...] = ()
        for count in range(len(ids) + 1):
            now = parse_complete_sentences(TOKENS, ids[:count]).sentences
            assert now[: len(before)] == before
            assert whole[: len(now)] == now
            before = now

    @given(st.lists(WORDS, max_size=25))
    def test_a_sentence_s_tokens_are_enough_to_say_it(self, parts: list[int | str]) -> None:
        ids = ids_of(*parts)
        outcome = parse_answer(TOKENS, ids).sentences
        for at, sentence in enumerate(outcome):
            so_far = parse_answer(TOKENS, ids[: sentence.tokens]).sentences
            assert [each.text for each in so_far[: at + 1]] == [each.text for each in outcome[: at + 1]]
