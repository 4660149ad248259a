"""A repository is whole after every write, and its keys are exchanged with no site left behind."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.trust_hub import DAY, NOW, POLICY, TrustHub, at, describe, publish_bytes
from tidegate.sync.trust.chunks import cut
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.faults import (
    MalformedMetadataError,
    RolledBackError,
    ThresholdNotMetError,
    UnknownKeyError,
)
from tidegate.sync.trust.files import replace_file
from tidegate.sync.trust.generation import Generation
from tidegate.sync.trust.metadata import RepositoryMissingError
from tidegate.sync.trust.repository import Repository, RepositoryExistsError
from tidegate.sync.trust.roles import HUB_TIME, TUF_ROLES, LastKeyError, Lifetimes, RoleKeys, TufRole
from tidegate.sync.trust.sources import DirectorySource
from tidegate.sync.trust.targets import artefacts_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def hub(tmp_path: Path) -> TrustHub:
    return TrustHub(tmp_path / "hub")


class _Crash(BaseException):
    """The hub was killed."""


async def seen_by_a_new_site(hub: TrustHub, directory: Path) -> Generation:
    return await hub.client(directory).refresh(at(NOW))


def test_a_repository_is_made_once_and_with_enough_keys(hub: TrustHub, tmp_path: Path) -> None:
    assert hub.metadata() == ["1.root.json", "1.snapshot.json", "1.targets.json", "timestamp.json"]
    roles: dict[TufRole, RoleKeys] = {role: RoleKeys((hub.key(role),)) for role in TUF_ROLES}
    with pytest.raises(RepositoryExistsError):
        hub.repository.create(roles, hub.signers(), NOW)
    other = Repository(tmp_path / "other")
    with pytest.raises(RepositoryMissingError):
        other.state()
    with pytest.raises(ThresholdNotMetError, match="snapshot: 2 of 1 keys"):
        other.create({**roles, "snapshot": RoleKeys((hub.key("snapshot"),), 2)}, hub.signers(), NOW)
    for role in TUF_ROLES:
        with pytest.raises(ThresholdNotMetError, match=f"{role}: 0 of the 1 keys signed, 1 must"):
            other.create(roles, hub.signers(role), NOW)
    assert not other.exists
    assert [path.name for path in (tmp_path / "other" / "metadata").iterdir()] == []


def test_nothing_is_written_where_a_key_is_missing(hub: TrustHub) -> None:
    before = {name: (hub.files / "metadata" / name).read_bytes() for name in hub.metadata()}
    for role in ("targets", "snapshot", "timestamp"):
        with pytest.raises(ThresholdNotMetError, match=role):
            publish_bytes(hub.repository, describe(b"x"), b"x", hub.signers(role), NOW)
    new = hub.keys.generate("timestamp", "hub", NOW)
    with pytest.raises(ThresholdNotMetError, match="root"):
        hub.repository.rotate("timestamp", new, hub.signers("root"), NOW)
    assert {name: (hub.files / "metadata" / name).read_bytes() for name in hub.metadata()} == before


def test_the_epoch_of_an_artefact_grows(hub: TrustHub) -> None:
    hub.publish(b"three", epoch=3)
    hub.publish(b"three", epoch=3)
    for data, epoch in ((b"two", 2), (b"other three", 3)):
        with pytest.raises(RolledBackError, match="published in epoch 3") as refused:
            hub.publish(data, epoch=epoch)
        assert refused.value.hint == "publish it as epoch 4"
    hub.publish(b"other", name="other")
    assert set(artefacts_in(hub.repository.state().targets.targets)) == {POLICY, "artefacts/kiosk/policy/other"}


def test_a_kind_that_this_version_does_not_know_stops_no_other(hub: TrustHub) -> None:
    hub.publish(b"x")
    state = hub.repository.state()
    custom = {"kind": "hologram", "artefact": {**state.targets.targets[POLICY].custom["artefact"], "kind": "hologram"}}
    state.targets.targets[POLICY].unrecognized_fields["custom"] = custom
    assert artefacts_in(state.targets.targets) == {}


@pytest.mark.parametrize("writes", range(6))
async def test_a_hub_killed_between_any_two_writes_goes_on(
    hub: TrustHub, tmp_path: Path, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish(b"one")
    done = 0

    def killed(path: Path, data: bytes) -> None:
        nonlocal done
        if done == writes:
            raise _Crash
        done += 1
        replace_file(path, data)

    for module in ("chunks", "repository", "metadata"):
        monkeypatch.setattr(f"tidegate.sync.trust.{module}.replace_file", killed)
    with pytest.raises(_Crash) if writes < 5 else nullcontext():
        hub.publish(b"two", epoch=2)
    monkeypatch.undo()
    expected = 2 if writes == 5 else 1
    assert (await seen_by_a_new_site(hub, tmp_path / "during")).artefacts[POLICY].epoch == expected
    hub.publish(b"two", epoch=2)
    client = hub.client(tmp_path / "after")
    assert (await client.refresh(at(NOW))).artefacts[POLICY].epoch == 2
    fetched = (await client.fetch(POLICY)).file
    assert fetched is not None
    assert fetched.read_bytes() == b"two"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_file(tmp_path / "file", b"before", 0o600)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("the disk is full")))
    with pytest.raises(OSError, match="full"):
        replace_file(tmp_path / "file", b"after")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"before")]


@pytest.mark.parametrize("role", TUF_ROLES)
async def test_a_key_is_exchanged_with_overlap_and_every_site_follows(
    hub: TrustHub, tmp_path: Path, role: TufRole
) -> None:
    hub.publish(b"one")
    known = hub.client(tmp_path / "known")
    await known.refresh(at(NOW))
    old, new = hub.key(role), hub.keys.generate(role, "hub", NOW + 1)
    assert hub.repository.rotate(role, new, hub.signers(), NOW) == 2
    assert set(hub.repository.state().root.roles[role].keyids) == {old.key_id, new.key_id}
    await known.refresh(at(NOW))
    assert hub.repository.revoke(old.key_id, hub.signers(), NOW) == 3
    assert hub.repository.state().root.roles[role].keyids == [new.key_id]
    hub.keys.revoke(old.key_id, NOW)
    hub.publish(b"two", epoch=2)
    for client in (known, hub.client(tmp_path / "new")):
        assert (await client.refresh(at(NOW))).artefacts[POLICY].epoch == 2


@pytest.mark.parametrize("role", TUF_ROLES)
@pytest.mark.parametrize("change", ["rotate", "revoke"])
async def test_a_hub_killed_while_it_exchanges_a_key_leaves_no_site_behind(
    hub: TrustHub, tmp_path: Path, role: TufRole, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish(b"one")
    old, new = hub.key(role), hub.keys.generate(role, "hub", NOW + 1)
    if change == "revoke":
        hub.repository.rotate(role, new, hub.signers(), NOW)
        hub.repository.publish([], hub.signers(new.key_id), NOW)  # the old key alone has signed what is in force
    for writes in range(4):
        done = 0

        def killed(path: Path, data: bytes, writes: int = writes) -> None:
            nonlocal done
            if done == writes:
                raise _Crash
            done += 1
            replace_file(path, data)

        monkeypatch.setattr("tidegate.sync.trust.metadata.replace_file", killed)
        try:
            if change == "rotate":
                hub.repository.rotate(role, new, hub.signers(), NOW)
            else:
                hub.repository.revoke(old.key_id, hub.signers(), NOW)
        except (_Crash, UnknownKeyError):
            pass  # an earlier round got far enough to revoke it
        monkeypatch.undo()
        assert (await seen_by_a_new_site(hub, tmp_path / str(writes))).artefacts[POLICY].epoch == 1
    assert new.key_id in hub.repository.state().root.roles[role].keyids


def test_a_role_keeps_as_many_keys_as_must_sign(hub: TrustHub) -> None:
    with pytest.raises(LastKeyError, match="timestamp would have 0 keys"):
        hub.repository.revoke(hub.key("timestamp").key_id, hub.signers(), NOW)
    stranger = hub.keys.generate("author", "site1", NOW)
    with pytest.raises(UnknownKeyError, match="no key of the repository"):
        hub.repository.revoke(stranger.key_id, hub.signers(), NOW)


def test_renewing_signs_what_would_expire_soon_and_no_more(hub: TrustHub) -> None:
    hub.publish(b"one")
    before = hub.repository.state()
    hub.repository.renew(hub.signers("root", "snapshot", "targets"), NOW + DAY)
    after = hub.repository.state()
    assert (after.timestamp.version, after.snapshot.version) == (before.timestamp.version + 1, before.snapshot.version)
    assert after.timestamp.unrecognized_fields[HUB_TIME] == NOW + DAY
    late = NOW + 21 * DAY
    with pytest.raises(ThresholdNotMetError):
        hub.repository.renew(hub.signers("targets"), late)
    hub.repository.renew(hub.signers(), late)
    renewed = hub.repository.state()
    assert renewed.targets.targets == before.targets.targets
    assert renewed.snapshot.expires == Lifetimes().end("snapshot", late)
    hub.repository.renew(hub.signers(), NOW)  # the hub's clock was set back
    assert hub.repository.state().timestamp.unrecognized_fields[HUB_TIME] == late


def test_what_was_changed_on_the_hub_s_disk_is_not_signed_anew(hub: TrustHub) -> None:
    hub.publish(b"one")
    for name in hub.metadata():
        path = hub.files / "metadata" / name
        if name in ("1.snapshot.json", "1.targets.json"):
            continue  # of the state before
        kept = path.read_bytes()
        for other in (
            kept.replace(b'"version"', b'"Version"'),
            kept.replace(b"sha256", b"sha512"),
            kept.replace(b"%d" % NOW, b"%d" % (NOW + 1)),
            b"",
            b"[]",
        ):
            if other != kept:
                path.write_bytes(other)
                with pytest.raises((MalformedMetadataError, RepositoryMissingError)):
                    hub.publish(b"two", epoch=2)
        path.write_bytes(kept)
    hub.publish(b"two", epoch=2)


def test_a_damaged_chunk_is_written_anew_and_a_good_one_is_not(hub: TrustHub) -> None:
    artefact = hub.publish(b"one")
    chunk = hub.files / "chunks" / artefact.digest
    before = chunk.stat().st_ino
    hub.publish(b"one", epoch=2)
    assert chunk.stat().st_ino == before
    chunk.write_bytes(b"oni")
    hub.publish(b"one", epoch=3)
    assert chunk.read_bytes() == b"one"


async def test_a_copy_of_the_directory_is_a_repository(hub: TrustHub, tmp_path: Path) -> None:
    hub.publish(b"one")
    client = RepositoryClient(tmp_path / "site", DirectorySource(hub.copy(tmp_path / "medium")))
    client.provision(hub.root)
    assert (await client.refresh(at(NOW))).artefacts[POLICY].epoch == 1


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300), chunk_bytes=st.integers(1, 100))
def test_chunks_are_the_file(data: bytes, chunk_bytes: int) -> None:
    pieces = list(cut(io.BytesIO(data), chunk_bytes))
    assert b"".join(piece for _, piece in pieces) == data
    assert sum(chunk.size for chunk, _ in pieces) == len(data)
    assert all(chunk.size == chunk_bytes for chunk, _ in pieces[:-1])


def test_a_repository_of_two_thresholds_needs_both(tmp_path: Path) -> None:
    thresholds: Mapping[TufRole, int] = {"root": 2, "targets": 2}
    hub = TrustHub(tmp_path / "hub", dict(thresholds))
    assert {role: held.threshold for role, held in hub.repository.state().root.roles.items()} == {
        "root": 2, "targets": 2, "snapshot": 1, "timestamp": 1,
    }  # fmt: skip
    with pytest.raises(ThresholdNotMetError, match="targets: 1 of the 2 keys signed, 2 must"):
        hub.repository.publish([], hub.signers(hub.key("targets").key_id), NOW)
    hub.repository.publish([], hub.signers(), NOW)
    with pytest.raises(LastKeyError, match="root would have 1 keys, and 2 must sign"):
        hub.repository.revoke(hub.key("root").key_id, hub.signers(), NOW)
    assert msgspec.json.decode((hub.files / "metadata" / "1.root.json").read_bytes())
