"""What to fetch and to apply, as tables; and from any start, whatever the network does, a replica reaches the head."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas import (
    CollectionDelta,
    CollectionHead,
    LogPosition,
    ReplicaPosition,
    SignedOperation,
    SnapshotManifest,
)
from tidegate.schemas.sync import SnapshotChunk
from tidegate.sync.rules.plan import (
    ApplyPlan,
    FetchPlan,
    HoleError,
    NoSnapshotError,
    OriginRolledBackError,
    is_resync_cheaper,
    plan_apply,
    plan_fetch,
    remaining_chunks,
)

DIGEST = "0a" * 32
SIGNED = SignedOperation(payload=b"", signature=bytes(64))


def held(epoch: int = 0, index: int = 0) -> ReplicaPosition:
    position = LogPosition(epoch, index) if epoch else None
    return ReplicaPosition(tenant="kiosk", collection="notices", position=position)


def head(epoch: int, index: int, first: int = 1, tail_bytes: int = 0) -> CollectionHead:
    return CollectionHead(
        tenant="kiosk",
        collection="notices",
        position=LogPosition(epoch, index),
        first=first,
        checksum=DIGEST,
        tail_bytes=tail_bytes,
    )


def snapshot(epoch: int, index: int, size: int = 1000, documents: int = 5) -> SnapshotManifest:
    return SnapshotManifest(
        tenant="kiosk",
        collection="notices",
        position=LogPosition(epoch, index),
        checksum=DIGEST,
        root=DIGEST,
        documents=documents,
        size=size,
        chunks=(SnapshotChunk(DIGEST, size),),
    )


def delta(epoch: int, index: int) -> CollectionDelta:
    return CollectionDelta(tenant="kiosk", collection="notices", position=LogPosition(epoch, index), operation=SIGNED)


@pytest.mark.parametrize(
    ("replica", "end", "offered", "reason", "first", "takes_it"),
    [
        (held(2, 50), head(2, 50), None, "up-to-date", 51, False),
        (held(2, 50), head(2, 50), snapshot(2, 50), "up-to-date", 51, False),
        (held(2, 40), head(2, 50), None, "tail", 41, False),
        (held(2, 40), head(2, 50, first=41), None, "tail", 41, False),
        (held(2, 39), head(2, 50, first=41), snapshot(2, 45), "log-too-short", 46, True),
        (held(), head(2, 50, first=41), snapshot(2, 45), "empty", 46, True),
        (held(), head(2, 50, first=41), snapshot(2, 40), "empty", 41, True),
        (held(), head(2, 50), snapshot(2, 45), "empty", 46, True),
        (held(), head(2, 50), None, "tail", 1, False),
        (held(), head(2, 0), None, "tail", 1, False),
        (held(), head(2, 50), snapshot(2, 0, documents=0), "tail", 1, False),
        (held(1, 90), head(2, 50), snapshot(2, 0), "new-epoch", 1, True),
        # 10 bytes a delta: a snapshot at 90 saves 89 of them
        (held(2, 1), head(2, 100, tail_bytes=1000), snapshot(2, 90, size=889), "cheaper", 91, True),
        (held(2, 1), head(2, 100, tail_bytes=1000), snapshot(2, 90, size=890), "tail", 2, False),
        (held(2, 95), head(2, 100, tail_bytes=1000), snapshot(2, 90, size=1), "tail", 96, False),
    ],
)
def test_what_is_fetched_follows_from_what_is_held_and_what_is_offered(
    replica: ReplicaPosition,
    end: CollectionHead,
    offered: SnapshotManifest | None,
    reason: str,
    first: int,
    takes_it: bool,
) -> None:
    plan = plan_fetch(replica, end, offered)
    assert (plan.reason, plan.first, plan.last, plan.epoch) == (reason, first, end.position.index, 2)
    assert plan.snapshot == (offered if takes_it else None)
    assert plan.is_done == (reason == "up-to-date" or end.position.index == 0)


@pytest.mark.parametrize(
    ("replica", "end"), [(held(2, 50), head(2, 49)), (held(2, 50), head(1, 90)), (held(2, 1), head(2, 0))]
)
@pytest.mark.parametrize("offered", [None, snapshot(2, 49), snapshot(1, 80)])
def test_a_log_that_ends_before_what_is_known_is_a_rolled_back_origin(
    replica: ReplicaPosition, end: CollectionHead, offered: SnapshotManifest | None
) -> None:
    with pytest.raises(OriginRolledBackError, match=f"ends at {end.position}, {replica.position} was applied"):
        plan_fetch(replica, end, offered)


@pytest.mark.parametrize(
    ("replica", "end", "offered"),
    [
        (held(), head(2, 50, first=41), None),
        (held(), head(2, 50, first=41), snapshot(2, 39)),  # 40 is in neither
        (held(), head(2, 50, first=41), snapshot(2, 51)),  # of a log that this is not
        (held(), head(2, 50, first=41), snapshot(1, 45)),
        (held(2, 39), head(2, 50, first=41), None),
        (held(1, 90), head(2, 50), None),  # not from 1 on: what the old epoch held would stay unreplaced
    ],
)
def test_without_a_snapshot_that_leads_to_the_head_there_is_no_way(
    replica: ReplicaPosition, end: CollectionHead, offered: SnapshotManifest | None
) -> None:
    with pytest.raises(NoSnapshotError, match="notices: the log begins at"):
        plan_fetch(replica, end, offered)


@pytest.mark.parametrize(
    ("indexes", "applied", "duplicates", "end"),
    [
        ([], [], 0, 10),
        ([11], [11], 0, 11),
        ([10], [], 1, 10),
        ([13, 11, 12, 11, 3], [11, 12, 13], 2, 13),
    ],
)
def test_what_is_next_is_applied_in_order_and_what_is_known_is_not(
    indexes: list[int], applied: list[int], duplicates: int, end: int
) -> None:
    plan = plan_apply("notices", LogPosition(2, 10), [delta(2, index) for index in indexes])
    assert plan == ApplyPlan(
        deltas=tuple(delta(2, index) for index in applied), position=LogPosition(2, end), duplicates=duplicates
    )


def test_deltas_of_an_earlier_epoch_are_duplicates_and_of_a_later_one_need_its_snapshot() -> None:
    assert plan_apply("notices", LogPosition(2, 0), [delta(1, 99)]).duplicates == 1
    with pytest.raises(NoSnapshotError, match=r"notices: 3\.1 is of a new epoch, 2\.10 was applied"):
        plan_apply("notices", LogPosition(2, 10), [delta(3, 1)])


@pytest.mark.parametrize(
    ("indexes", "missing"), [([12], (11, 11)), ([15, 11], (12, 14)), ([11, 12, 14, 20], (13, 13)), ([20], (11, 19))]
)
def test_a_hole_is_an_error_that_names_it(indexes: list[int], missing: tuple[int, int]) -> None:
    first, last = missing
    with pytest.raises(HoleError, match=f"notices: {first} to {last} of epoch 2 are missing") as hole:
        plan_apply("notices", LogPosition(2, 10), [delta(2, index) for index in indexes])
    assert hole.value.missing == (2, first, last)


@given(st.data())
def test_from_any_start_a_replica_reaches_the_head_through_loss_and_repetition(data: st.DataObject) -> None:
    end = data.draw(st.integers(1, 20))
    kept = data.draw(st.integers(1, end))
    taken = data.draw(st.integers(kept - 1, end))
    replica = data.draw(st.one_of(st.just(held()), st.builds(held, st.just(2), st.integers(0, end))))
    plan = plan_fetch(replica, head(2, end, first=kept, tail_bytes=end), snapshot(2, taken, size=3))
    position = plan.snapshot.position if plan.snapshot else replica.position or LogPosition(2)
    everything = list(range(plan.first, plan.last + 1))
    batches = data.draw(st.lists(st.lists(st.integers(1, end), max_size=6), max_size=6))
    seen: list[int] = []
    for batch in [*batches, everything]:
        try:
            applied = plan_apply("notices", position, [delta(2, index) for index in batch])
        except HoleError as hole:
            _, first, last = hole.missing
            assert not set(batch) & set(range(first, last + 1))
            continue
        seen += [each.position.index for each in applied.deltas]
        position = applied.position
    assert seen == everything, "each once, in order"
    assert position == LogPosition(2, end)


def test_a_transfer_that_was_cut_goes_on_with_what_is_not_verified() -> None:
    chunks = tuple(SnapshotChunk(f"{number:064x}", 10) for number in range(4))
    manifest = msgspec.structs.replace(snapshot(2, 5), chunks=chunks)
    assert remaining_chunks(manifest, ()) == (0, 1, 2, 3)
    assert remaining_chunks(manifest, (chunks[0].digest, "", "damaged")) == (1, 2, 3)
    assert remaining_chunks(manifest, [chunk.digest for chunk in chunks]) == ()


def test_a_repair_of_nearly_everything_is_a_resync() -> None:
    assert not is_resync_cheaper(10, 100, snapshot(2, 5, size=1000))
    assert is_resync_cheaper(11, 100, snapshot(2, 5, size=1000))


def test_a_plan_is_done_where_there_is_nothing_to_fetch() -> None:
    assert FetchPlan(epoch=1, first=3, last=2).is_done
    assert not FetchPlan(epoch=1, first=3, last=3).is_done
    assert not FetchPlan(epoch=1, first=3, last=2, snapshot=snapshot(1, 2)).is_done
