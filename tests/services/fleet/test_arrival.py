"""A site has what was published when it is where the hub is, its index too, and every epoch is in force."""

from __future__ import annotations

import msgspec
import pytest

from tidegate.schemas import (
    ArtefactPublished,
    ArtefactStatus,
    Collection,
    CollectionStatus,
    LogPosition,
    ReplicaStatus,
)
from tidegate.services.fleet.arrival import ExpectedState, find_lacking, read_position

FAQ = Collection(tenant="kiosk", name="faq", sites=("site1",))
HELD = CollectionStatus(
    tenant="kiosk",
    collection="faq",
    owner="shared",
    state="following",
    position="2.7",
    generation=5,
    indexed_generation=5,
)
POLICY = ArtefactStatus(tenant="kiosk", kind="policy", name="safe", epoch=3, offered=3)
MODEL = ArtefactStatus(tenant="kiosk", kind="model", name="small", epoch=0, offered=2)
ARTEFACTS = tuple(
    ArtefactPublished(tenant="kiosk", kind=each.kind, name=each.name, epoch=each.offered, digest="ab" * 32, size=1)
    for each in (POLICY, MODEL)
)
EXPECTED = ExpectedState(tenant="kiosk", collections={"faq": (FAQ, LogPosition(2, 7))}, artefacts=ARTEFACTS)
WHOLE = ReplicaStatus(domain="site1", collections=(HELD,), artefacts=(POLICY, MODEL))


def test_a_site_that_has_all_lacks_nothing_and_one_that_may_not_hold_it_neither() -> None:
    assert find_lacking(WHOLE, "site1", EXPECTED) == ""
    assert find_lacking(msgspec.structs.replace(WHOLE, collections=()), "site2", EXPECTED) == ""


@pytest.mark.parametrize(
    ("collection", "lacking"),
    [
        ({"position": "2.6"}, "faq 2.7"),
        ({"position": "1.9"}, "faq 2.7"),
        ({"position": ""}, "faq 2.7"),
        ({"position": "2.8"}, ""),
        ({"position": "3.0"}, ""),
        ({"indexed_generation": 4}, "the index of faq"),
        ({"collection": "fees"}, "faq 2.7"),
    ],
)
def test_a_collection_has_to_be_as_far_as_the_hub_and_in_the_index(collection: dict[str, object], lacking: str) -> None:
    held = msgspec.structs.replace(HELD, **collection)
    assert find_lacking(msgspec.structs.replace(WHOLE, collections=(held,)), "site1", EXPECTED) == lacking


@pytest.mark.parametrize(
    ("artefacts", "lacking"),
    [
        ((msgspec.structs.replace(POLICY, epoch=2), MODEL), "the policy safe 3"),
        ((POLICY, msgspec.structs.replace(MODEL, offered=1)), "the model small 2"),
        ((POLICY,), "the model small 2"),
        ((msgspec.structs.replace(POLICY, epoch=4), MODEL), ""),
    ],
)
def test_a_policy_has_to_be_in_force_and_weights_have_to_be_known(
    artefacts: tuple[ArtefactStatus, ...], lacking: str
) -> None:
    assert find_lacking(msgspec.structs.replace(WHOLE, artefacts=artefacts), "site1", EXPECTED) == lacking


def test_a_position_is_read_as_it_is_written() -> None:
    assert read_position(str(LogPosition(3, 1200))) == LogPosition(3, 1200)
    assert read_position("") is None
