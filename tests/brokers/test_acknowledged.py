"""Reading what the other side of a leaf has acknowledged: everything once, in order, and nothing that is on its way."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.nats_fleet import client_of, linked, until
from tidegate.brokers.base import Acknowledged, StoredMessage, TopologyMissingError
from tidegate.brokers.jetstream import api as jetstream_api
from tidegate.brokers.jetstream.acknowledged import LOOK_BACK, start_after, up_to_floor
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.topology.streams import UP_CONSUMER
from tidegate.schemas.subjects import ESCALATIONS, Source

SITES_OWN = Source(ESCALATIONS, "escalations.site1.>")


def message(sequence: int) -> StoredMessage:
    return StoredMessage(ESCALATIONS, sequence, 0.0, f"escalations.site1.kiosk.r{sequence}", {}, b"")


@pytest.mark.parametrize(
    ("after", "floor", "start"),
    [
        (None, 0, 0),
        (None, 5, 0),
        (None, LOOK_BACK + 5, 5),
        (0, 0, 0),
        (0, 9, 0),
        (9, 9, 9),
        (7, 9, 7),
        (9, 0, 0),  # rewound to the beginning, or made anew
        (9, 8, 0),
        (LOOK_BACK + 9, LOOK_BACK + 8, 8),
    ],
)
def test_where_to_begin(after: int | None, floor: int, start: int) -> None:
    assert start_after(after, floor) == start


@given(
    sequences=st.lists(st.integers(1, 60), unique=True).map(sorted),
    floors=st.lists(st.integers(0, 60), min_size=1).map(sorted),
    most=st.integers(1, 7),
)
def test_whatever_is_acknowledged_is_read_once_in_order_and_nothing_else(
    sequences: list[int], floors: list[int], most: int
) -> None:
    def read(position: int, floor: int) -> Acknowledged:
        start = start_after(position, floor)
        page = [message(sequence) for sequence in sequences if sequence > start][:most]
        return up_to_floor(page, start, floor, most)

    position, seen = 0, list[int]()
    for floor in floors:
        while True:
            found = read(position, floor)
            assert found.after == position
            seen += [each.sequence for each in found.messages]
            position = found.upto
            if len(found.messages) < most:
                break
        assert position == floor
        assert seen == [sequence for sequence in sequences if sequence <= floor]


@pytest.mark.anyio
async def test_of_a_real_consumer_what_is_acknowledged_and_after_a_rewind_all_of_it_again(tmp_path: Path) -> None:
    async with (
        linked(tmp_path, ["site1"]) as fleet,
        client_of(fleet.fleet.sites["site1"]) as client,
        JetStreamBus.open(fleet.fleet.sites["site1"].nats, "site1") as bus,
    ):

        async def read(after: int | None, most: int = 64) -> tuple[list[int], int, int]:
            found = await bus.acknowledged(SITES_OWN, UP_CONSUMER, after, most)
            return [each.sequence for each in found.messages], found.after, found.upto

        async def all_acknowledged() -> bool:
            return (await read(None))[2] == 5

        assert await read(None) == ([], 0, 0)
        for n in range(1, 6):
            await client.jetstream().publish(f"escalations.site1.kiosk.r{n}", b"x")
        await until(all_acknowledged)
        assert await read(None) == ([1, 2, 3, 4, 5], 0, 5)
        assert await read(None, most=2) == ([1, 2], 0, 2)
        assert await read(2, most=3) == ([3, 4, 5], 2, 5)
        assert await read(5) == ([], 5, 5)
        fleet.fleet.hub.kill()  # so that what is rewound is not acknowledged again
        await jetstream_api.rewind(client, ESCALATIONS, UP_CONSUMER, 4)
        assert await read(5) == ([1, 2, 3], 0, 3)
        with pytest.raises(TopologyMissingError):
            await bus.acknowledged(SITES_OWN, "to-nowhere", None, 64)
