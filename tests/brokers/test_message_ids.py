"""Ids of messages: the same for the same name and key, and to whoever has not the key they say nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.brokers.message_ids import NAMES, MessageIds
from tidegate.schemas import replace
from tidegate.services.fleet.message_ids import load_message_ids
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings

keys = st.binary(min_size=32, max_size=32)
names = st.text(max_size=200)


@given(key=keys, name=names)
def test_an_id_is_the_same_in_every_process_and_fits_a_header(key: bytes, name: str) -> None:
    made = MessageIds(key).of(name)
    assert made == MessageIds(key).of(name)
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", made)


@given(key=keys, other=keys, one=names, two=names)
def test_another_name_or_another_key_gives_another_id(key: bytes, other: bytes, one: str, two: str) -> None:
    made = MessageIds(key).of(one)
    assert (MessageIds(key).of(two) == made) is (one == two)
    assert (MessageIds(other).of(one) == made) is (other == key)
    assert made != one


def test_a_bus_of_its_own_needs_no_key_and_a_short_one_is_refused() -> None:
    assert NAMES.of("kiosk.r1") == "kiosk.r1"
    with pytest.raises(ValueError, match="at least 32 bytes"):
        MessageIds(b"short")


def test_all_processes_of_a_domain_have_the_same_key_which_no_other_has(tmp_path: Path) -> None:
    site1 = Settings(state_dir=str(tmp_path), site="site1")
    made = load_message_ids(site1).of("kiosk.r1")
    assert load_message_ids(site1).of("kiosk.r1") == made
    assert load_message_ids(replace(site1, site="site2")).of("kiosk.r1") != made
    assert load_message_ids(replace(site1, site="hub")).of("kiosk.r1") != made
    assert StatePaths(site1).key.stat().st_mode & 0o777 == 0o600
