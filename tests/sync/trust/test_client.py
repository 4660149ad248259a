"""A site believes what the hub signed, by the hub's time; alone, it goes on with what it has, and that ages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.support.trust_hub import DAY, NOW, POLICY, TrustHub, at, describe, publish_bytes
from tidegate.schemas import KeyRegister
from tidegate.sync.rules.staleness import Now, TimeWentBackError, standing
from tidegate.sync.trust.client import NotProvisionedError, RepositoryClient
from tidegate.sync.trust.faults import (
    BlobMissingError,
    ExpiredRoleError,
    FrozenTimestampError,
    MalformedMetadataError,
    RolledBackError,
    TrustError,
    UnknownTargetError,
)
from tidegate.sync.trust.holdings import Holdings
from tidegate.sync.trust.repository import Repository
from tidegate.sync.trust.roles import Lifetimes
from tidegate.sync.trust.sources import DirectorySource

pytestmark = pytest.mark.anyio
KEPT = b"policy: strict\n"
SNAPSHOT = "snapshots/kiosk/branch-notices"


@pytest.fixture
def hub(tmp_path: Path) -> TrustHub:
    return TrustHub(tmp_path / "hub")


async def test_what_is_published_reaches_a_site_that_has_only_the_root(hub: TrustHub, tmp_path: Path) -> None:
    artefact = hub.publish(KEPT)
    client = hub.client(tmp_path / "site")
    generation = await client.refresh(at(NOW))
    assert generation.artefacts == {POLICY: artefact}
    assert generation.hub_time_ms == NOW
    fetched = await client.fetch(POLICY)
    assert fetched.file is not None
    assert fetched.file.read_bytes() == KEPT
    assert client.generation() == generation
    with pytest.raises(UnknownTargetError, match="other"):
        await client.fetch("artefacts/kiosk/policy/other")


async def test_an_empty_file_is_an_artefact_too(hub: TrustHub, tmp_path: Path) -> None:
    hub.publish(b"")
    client = hub.client(tmp_path / "site")
    await client.refresh(at(NOW))
    fetched = await client.fetch(POLICY)
    assert fetched.file is not None
    assert fetched.file.read_bytes() == b""


async def test_a_site_without_a_root_believes_nothing(hub: TrustHub, tmp_path: Path) -> None:
    client = RepositoryClient(tmp_path / "site", DirectorySource(hub.files))
    with pytest.raises(NotProvisionedError):
        await client.refresh(at(NOW))
    with pytest.raises(NotProvisionedError):
        client.generation()
    for other in (b"", b"{}", (hub.files / "metadata" / "timestamp.json").read_bytes()):
        with pytest.raises(MalformedMetadataError):
            client.provision(other)


async def test_the_wall_clock_decides_nothing_once_the_hub_told_the_time(hub: TrustHub, tmp_path: Path) -> None:
    hub.publish(KEPT)
    client = hub.client(tmp_path / "site")
    await client.refresh(at(NOW))
    hub.publish(b"2", epoch=2, now_ms=NOW + 1000)
    for wall_ms in (0, NOW + 900 * DAY):
        assert (await client.refresh(at(NOW + 2000, wall_ms=wall_ms))).artefacts[POLICY].epoch == 2


async def test_a_first_refresh_has_only_the_wall_clock_and_says_it_is_doubtful(hub: TrustHub, tmp_path: Path) -> None:
    client = hub.client(tmp_path / "site")
    assert client.clock.judge(at(NOW)).is_doubtful
    with pytest.raises(FrozenTimestampError):
        await client.refresh(at(NOW, wall_ms=NOW + 2 * DAY))
    await client.refresh(at(NOW))
    assert not client.clock.judge(at(NOW)).is_doubtful


async def test_a_state_of_another_machine_is_refused(hub: TrustHub, tmp_path: Path) -> None:
    client = hub.client(tmp_path / "site")
    await client.refresh(at(NOW + 5000))
    with pytest.raises(TimeWentBackError):
        await client.refresh(at(NOW + 4000))


async def test_a_site_that_is_alone_goes_on_by_digest_and_ages(hub: TrustHub, tmp_path: Path) -> None:
    hub.publish(KEPT)
    client = hub.client(tmp_path / "site")
    generation = await client.refresh(at(NOW))
    await client.fetch(POLICY)
    Holdings(tmp_path / "site", client.blobs).activate(POLICY, generation)

    (tmp_path / "hub" / "repository").rename(tmp_path / "away")
    later = RepositoryClient(tmp_path / "site", DirectorySource(hub.files))  # it was restarted meanwhile
    holdings = Holdings(tmp_path / "site", later.blobs)
    rungs = []
    for days in (0, 1, 3, 10, 40):
        now = at(NOW + days * DAY, wall_ms=0)  # the timestamp lasts a day, the targets do not last for ever either
        with pytest.raises(TrustError):
            await later.refresh(now)
        assert later.generation() == generation
        assert holdings.file(POLICY).read_bytes() == KEPT
        reached = standing(holdings.held(), later.clock.judge(now), is_linked=False)
        rungs.append((reached.rung, bool(reached.stale)))
    assert rungs == [
        ("local-only", False),
        ("local-only", True),
        ("evidence-only", True),
        ("evidence-only", True),
        ("closed", True),
    ]

    (tmp_path / "away").rename(tmp_path / "hub" / "repository")
    with pytest.raises(FrozenTimestampError):
        await later.refresh(at(NOW + 40 * DAY))
    hub.repository.renew(hub.signers(), NOW + 40 * DAY)
    back = await later.refresh(at(NOW + 40 * DAY))
    holdings.confirm(back)
    assert standing(holdings.held(), later.clock.judge(at(NOW + 40 * DAY)), is_linked=True).rung == "full"


async def test_what_the_hub_replaced_goes_on_ageing_until_its_successor_is_activated(
    hub: TrustHub, tmp_path: Path
) -> None:
    hub.publish(KEPT)
    client = hub.client(tmp_path / "site")
    holdings = Holdings(tmp_path / "site", client.blobs)
    first = await client.refresh(at(NOW))
    await client.fetch(POLICY)
    holdings.activate(POLICY, first)
    hub.publish(b"2", epoch=2, now_ms=NOW + 5000)
    second = await client.refresh(at(NOW + 5000))
    holdings.confirm(second)
    assert holdings.held()[0].current_at_ms == NOW
    with pytest.raises(BlobMissingError, match="is not here"):
        holdings.activate(POLICY, second)
    assert holdings.file(POLICY).read_bytes() == KEPT
    await client.fetch(POLICY)
    holdings.activate(POLICY, second)
    assert holdings.held()[0].current_at_ms == NOW + 5000
    assert holdings.file(POLICY).read_bytes() == b"2"
    with pytest.raises(RolledBackError, match="epoch 2 is in force"):
        holdings.activate(POLICY, first)


async def test_a_copy_that_was_carried_for_long_is_as_old_as_the_hub_s_time_in_it(
    hub: TrustHub, tmp_path: Path
) -> None:
    hub.publish(KEPT)
    carried = hub.copy(tmp_path / "medium")
    client = RepositoryClient(tmp_path / "site", DirectorySource(carried))
    client.provision(hub.root)
    now = at(NOW + 3 * DAY)
    with pytest.raises(FrozenTimestampError):
        await client.refresh(now)
    generation = await client.refresh(now, is_copy=True)
    assert generation.hub_time_ms == NOW
    await client.fetch(POLICY)
    holdings = Holdings(tmp_path / "site", client.blobs)
    holdings.activate(POLICY, generation)
    assert holdings.held()[0].current_at_ms == NOW


async def test_a_copy_is_no_way_round_the_other_checks(hub: TrustHub, tmp_path: Path) -> None:
    hub.publish(KEPT)
    old = hub.copy(tmp_path / "medium")
    hub.publish(b"2", epoch=2, now_ms=NOW + 1000)
    client = hub.client(tmp_path / "site")
    generation = await client.refresh(at(NOW + 1000))
    carried = RepositoryClient(tmp_path / "site", DirectorySource(old))
    with pytest.raises(RolledBackError):
        await carried.refresh(at(NOW + 1000), is_copy=True)
    (old / "metadata" / "timestamp.json").write_bytes(b"{}")
    with pytest.raises(MalformedMetadataError):
        await carried.refresh(at(NOW + 1000), is_copy=True)
    assert carried.generation() == generation


@pytest.mark.parametrize(
    ("lifetimes", "fault"),
    [
        (Lifetimes(timestamp_s=10), FrozenTimestampError),
        (Lifetimes(root_s=10), ExpiredRoleError),
        (Lifetimes(snapshot_s=10), ExpiredRoleError),
        (Lifetimes(targets_s=10), ExpiredRoleError),
    ],
)
@pytest.mark.parametrize("is_known", [True, False])
async def test_each_role_that_expired_is_named(
    hub: TrustHub, tmp_path: Path, lifetimes: Lifetimes, fault: type[TrustError], is_known: bool
) -> None:
    repository = Repository(hub.files, lifetimes)
    signers = hub.signers()
    publish_bytes(repository, describe(KEPT), KEPT, signers, NOW)
    repository.rotate("timestamp", hub.keys.generate("timestamp", "hub", NOW), hub.signers(), NOW)
    client = hub.client(tmp_path / "site")
    if is_known:
        await client.refresh(at(NOW + 9000))
    with pytest.raises(fault) as refused:
        await client.refresh(at(NOW + 10_000))
    (shortest,) = [
        role for role in ("timestamp", "root", "snapshot", "targets") if getattr(lifetimes, f"{role}_s") == 10
    ]
    assert shortest in refused.value.reason


async def test_the_keys_that_the_hub_trusts_are_published_too(hub: TrustHub, tmp_path: Path) -> None:
    key = hub.keys.generate("author", "site1", NOW)
    hub.repository.publish([KeyRegister(keys=(key,))], hub.signers(), NOW)
    client = hub.client(tmp_path / "site")
    await client.refresh(at(NOW))
    assert (await client.keyring()).find(key.key_id, "author", "site1", NOW) == key


def test_trusted_time_survives_a_restart(hub: TrustHub, tmp_path: Path) -> None:
    clock = hub.client(tmp_path / "site").clock
    clock.checkpoint(at(NOW))
    assert clock.known() is None
    clock.tell(NOW, at(NOW))
    clock.checkpoint(at(NOW + 7000))
    judged = clock.judge(Now(boot_id="cd" * 8, monotonic_ms=10, wall_ms=0))
    assert (judged.trusted_ms, judged.is_doubtful) == (NOW + 7010, True)
    clock.tell(NOW + 6000, at(NOW + 7000), is_live=True)
    assert clock.judge(at(NOW + 7000)).trusted_ms == NOW + 6000


def test_the_command_line_starts_without_python_tuf() -> None:
    """python-tuf and urllib3 take a quarter of a second to import."""
    code = "import sys, tidegate.services.cli.status; print('tuf' in sys.modules, 'securesystemslib' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split() == ["False", "False"]


def test_what_is_stored_of_a_generation_is_four_signed_files(hub: TrustHub) -> None:
    from tidegate.sync.trust.generation import StoredGeneration, read_generation

    names = ("1.root", "timestamp", "1.snapshot", "1.targets")
    files = [(hub.files / "metadata" / f"{name}.json").read_bytes() for name in names]
    assert read_generation(msgspec.msgpack.encode(StoredGeneration(*files))).version == 1
    for number in range(1, 4):
        changed = [*files]
        changed[number] = (
            changed[number].replace(b'"expires": "20', b'"expires": "21').replace(b'"expires":"20', b'"expires":"21')
        )
        assert changed != files
        with pytest.raises(MalformedMetadataError):
            read_generation(msgspec.msgpack.encode(StoredGeneration(*changed)))
