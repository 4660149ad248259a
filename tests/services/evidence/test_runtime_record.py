"""What a runtime decided in process is kept sealed, decided again as it was, and gone with its asker or its time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.services.evidence.test_replay import answered, record, rules
from tests.support.policy_files import policy
from tidegate.schemas import Asked, Retrieved, decode
from tidegate.services.evidence.replay import replay
from tidegate.services.evidence.runtime_log import open_runtime_log
from tidegate.services.evidence.runtime_record import FILE, RuntimeRecord
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.vault import open_vault
from tidegate.services.privacy.faults import ErasedError, TamperedError
from tidegate.services.privacy.sealing import seal_request
from tidegate.services.privacy.vault import Vault
from tidegate.services.settings import Settings
from tidegate.sync.trust.keys import KeyStore

pytestmark = pytest.mark.anyio
SECRET = "Where is the key under the mat?"
KEPT_S = 3 * 24 * 3600


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    KeyStore(tmp_path / "keys").generate("author", "site1", 1)
    return Settings(state_dir=str(tmp_path))


@pytest.fixture
def vault(settings: Settings) -> Iterator[Vault]:
    with closing(open_vault(settings)) as opened:
        yield opened


def sealed(vault: Vault, rid: str = "r1", asker: str = "ann") -> Asked:
    asked = Asked(rid=rid, tenant="kiosk", site="site1", text=SECRET, asker=asker, asked_at_ms=1, deadline_at_ms=2)
    return seal_request(vault, asked)


def record_of(settings: Settings, vault: Vault) -> RuntimeRecord:
    return RuntimeRecord(StatePaths(settings).audit, vault, KEPT_S)


@pytest.mark.parametrize("asker", ["ann", ""])
async def test_what_was_decided_in_process_is_decided_again_and_is_the_same(
    settings: Settings, vault: Vault, tmp_path: Path, asker: str
) -> None:
    own, asked = policy(tmp_path), sealed(vault, asker=asker)
    facts = await record(answered("r1", 0.9), own)
    async with open_runtime_log(settings, vault) as log:
        assert log is not None
        await log.keep(facts[-1], asked, facts)  # type: ignore[arg-type]
    stored = record_of(settings, vault).read("kiosk", "r1")
    assert decode(stored[0].data, Asked) == asked
    assert (await replay("r1", stored, rules(own))).verdict == "identical"
    stricter = policy(tmp_path, "policy_id: s\nabstain_thresholds: {entailment: 0.99}\n", "stricter.yaml")
    assert (await replay("r1", stored, rules(stricter))).verdict == "differs"


async def test_nothing_of_it_is_on_the_disk_in_clear_and_passages_are_not_kept(
    settings: Settings, vault: Vault, tmp_path: Path
) -> None:
    facts = await record(answered("r1", 0.9), policy(tmp_path))
    given = facts[0]
    retrieved = given.followed_by(Retrieved, question=given.question, plan=given.plan)  # type: ignore[attr-defined]
    record_of(settings, vault).keep(sealed(vault), [retrieved, *facts], 1_000.0)
    assert len(record_of(settings, vault).read("kiosk", "r1")) == 1 + len(facts)
    written = b"".join(path.read_bytes() for path in StatePaths(settings).audit.glob(f"{FILE}*"))
    assert b"r1" in written, "nothing was looked at"
    assert b"lost card" not in written


async def test_who_is_erased_takes_it_along(settings: Settings, vault: Vault, tmp_path: Path) -> None:
    facts = await record(answered("r1", 0.9), policy(tmp_path))
    record_of(settings, vault).keep(sealed(vault), facts, 1_000.0)
    vault.erase("kiosk", vault.digest_of_asker("kiosk", "ann", ""))
    with pytest.raises(ErasedError):
        record_of(settings, vault).read("kiosk", "r1")


def test_it_goes_when_the_facts_of_streams_do_and_one_tenant_reads_none_of_another(
    settings: Settings, vault: Vault
) -> None:
    kept = record_of(settings, vault)
    for rid, at_s in (("r1", 1_000.0), ("r2", 1_000.0 + KEPT_S), ("r3", 1_001.0 + KEPT_S)):
        kept.keep(sealed(vault, rid), [], at_s)
    assert [len(kept.read("kiosk", rid)) for rid in ("r1", "r2", "r3")] == [0, 1, 1]
    assert kept.read("bank", "r2") == []
    assert record_of(Settings(state_dir=str(StatePaths(settings).home / "other")), vault).read("kiosk", "r2") == []


def test_what_was_changed_on_the_disk_is_no_record(settings: Settings, vault: Vault) -> None:
    kept = record_of(settings, vault)
    kept.keep(sealed(vault), [], 1_000.0)
    kept.keep(sealed(vault, "r2"), [], 1_000.0)
    with sqlite3.connect(StatePaths(settings).audit / FILE) as connection:
        connection.execute("UPDATE requests SET sealed = (SELECT sealed FROM requests WHERE rid = 'r2')")
    connection.close()
    with pytest.raises(TamperedError):
        kept.read("kiosk", "r1")
