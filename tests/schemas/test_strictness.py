"""A strict read takes what a plain one takes, and refuses what that would pass over, wherever it is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.message_samples import SAMPLES
from tests.support.more_message_samples import MORE_SAMPLES
from tidegate.schemas import Escalated, Message, encode, encode_json
from tidegate.schemas.strictness import UnknownFieldError, decode_strictly

ALL = [*SAMPLES, *MORE_SAMPLES]
[ESCALATED] = [sample for sample in SAMPLES if isinstance(sample, Escalated)]


@pytest.mark.parametrize("message", ALL, ids=lambda message: type(message).__name__)
def test_every_message_of_ours_is_read_as_it_was_written(message: Message) -> None:
    for form in (encode, encode_json):
        assert decode_strictly(form(message), type(message)) == message


def maps_in(value: Any) -> list[dict[str, Any]]:
    """All maps in a message whose keys are fields."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    here = [value] if isinstance(value, dict) and not value.keys() & {"drafter", "edge_only"} else []
    return [*here, *(found for each in inner for found in maps_in(each))]


@given(where=st.integers(0, 10_000), name=st.text(min_size=1, max_size=20), value=st.one_of(st.none(), st.text()))
def test_a_field_that_no_type_has_is_found_wherever_it_is(where: int, name: str, value: str | None) -> None:
    raw = msgspec.msgpack.decode(encode(ESCALATED))
    maps = maps_in(raw)
    chosen = maps[where % len(maps)]
    chosen[f"{name}\0"] = value
    with pytest.raises(UnknownFieldError) as refused:
        decode_strictly(msgspec.msgpack.encode(raw), Escalated)
    assert name not in refused.value.reason or name in "a escalated has field that is unknown here"
