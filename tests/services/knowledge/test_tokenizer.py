"""The tokenizer: the ids that the model was trained on, characters that are those of the text, no control token."""

from __future__ import annotations

import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.pieces import open_peer, open_pieces, sample_texts
from tidegate.services.knowledge.extraction.field_windows import cut_text
from tidegate.services.knowledge.tokenizer import PieceTokenizer

PIECES = open_pieces()
CONTROLS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
CONTROL_IDS = {0, 1, 2, 110413}
UNKNOWN = 3
SPACES = (" ", "  ", "\n", "\r\n\t", "\u00a0", "\u3000", "\u200b", "\u2028", "▁")
UNSEEN = "\ufeff\u200b\u200d\u200e\u200f▁"
"""What the normalisation takes for a space, or for nothing, and `str.isspace` does not."""
LATIN = "".join(map(chr, (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x180)))) + "€–—„“”‘’…•"

words = st.text(LATIN, min_size=1, max_size=9)
anything = st.lists(st.one_of(st.text(max_size=12), words, st.sampled_from([*SPACES, *CONTROLS])), max_size=6).map(
    "".join
)


def test_ids_and_characters_are_those_of_the_library_that_the_model_was_trained_with() -> None:
    texts = sample_texts()
    assert len(texts) >= 2000
    for text in (each.strip() for each in texts):
        found, peer = PIECES.encode(text), open_peer().encode(text, add_special_tokens=False)
        assert found.ids == peer.ids
        for (start, end), (first, last) in zip(found.offsets, peer.offsets, strict=True):
            assert end == last
            assert is_blank(text[min(start, first) : max(start, first)])  # whose a run of white space is


@settings(max_examples=150, deadline=None)
@given(st.lists(words, min_size=1, max_size=6), st.data())
def test_white_space_of_any_kind_and_length_is_one_space_as_it_was_in_training(
    spoken: list[str], data: st.DataObject
) -> None:
    gaps = [data.draw(st.sampled_from(SPACES)) for _ in range(len(spoken) + 1)]
    text = "".join(gap + word for gap, word in zip(gaps, [*spoken, ""], strict=True))
    assert PIECES.encode(text).ids == open_peer().encode(" ".join(spoken), add_special_tokens=False).ids


@settings(max_examples=300, deadline=None)
@given(anything)
@example("")
@example("\ufdfa")  # one letter that stands for eighteen
@example("e\u0301 \ufb01\u0301n 👩\u200d👩\u200d👧 \u1100\u1161\u11a8")
@example("\x00a\x85\ufffd\U000e0001")
def test_each_token_stands_at_characters_of_the_text_and_only_what_is_unseen_is_left_out(text: str) -> None:
    found = PIECES.encode(text)
    starts, ends = [start for start, _ in found.offsets], [end for _, end in found.offsets]
    assert len(found.ids) == len(found.offsets)
    assert all(0 <= start < end <= len(text) for start, end in found.offsets)
    assert (starts, ends) == (sorted(starts), sorted(ends))
    covered = {at for start, end in found.offsets for at in range(start, end)}
    left = {letter for at, letter in enumerate(text) if at not in covered}
    assert all(is_blank(letter) or not PIECES.encode(letter).ids for letter in left)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SPACES), words), min_size=1, max_size=6), st.data())
def test_a_value_in_a_text_is_found_at_the_tokens_that_hold_it(
    spoken: list[tuple[str, str]], data: st.DataObject
) -> None:
    text = "".join(gap + word for gap, word in spoken)
    which = data.draw(st.integers(0, len(spoken) - 1))
    end = sum(len(gap + word) for gap, word in spoken[: which + 1])
    start = end - len(spoken[which][1])
    (window,) = cut_text(text, PIECES.encode)
    tokens = window.find((start, end))
    assert tokens is not None
    first, last = (window.offsets[each - window.first] for each in tokens)
    assert is_blank(text[first[0] : start])
    assert first[0] <= start < end <= last[1]
    assert last[1] == end


@settings(max_examples=200, deadline=None)
@given(anything)
@example("".join(CONTROLS))
def test_no_text_says_a_control_token(text: str) -> None:
    assert CONTROL_IDS.isdisjoint(PIECES.encode(text).ids)
    start, *ids, end = PIECES.frame(text)
    assert (start, end) == (0, 2)
    assert ids == PIECES.encode(text).ids


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_token_that_is_typed_is_spelled_out(control: str) -> None:
    ids = PIECES.encode(control).ids
    assert len(ids) >= 3
    assert UNKNOWN not in ids


def test_several_threads_get_the_tokens_that_one_gets_alone() -> None:
    texts = sample_texts()[::8]
    alone, found = [PIECES.encode(each) for each in texts], list[bool]()
    threads = [
        threading.Thread(target=lambda: found.append([PIECES.encode(each) for each in texts] == alone))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


@pytest.mark.parametrize("model", [b"", b"no model", b"\x0a\x03abc"])
def test_what_is_no_model_is_refused(model: bytes) -> None:
    with pytest.raises(ValueError, match="not a SentencePiece model"):
        PieceTokenizer(model)


def is_blank(text: str) -> bool:
    return all(letter.isspace() or letter in UNSEEN for letter in text)
