"""Erasing, rotating, expiring, and the file of yesterday: what a vault gives away, to whom, and for how long."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.paths import ROOT
from tests.support.vault_samples import ANN, BEN, KEY, shown
from tidegate.services.privacy.faults import ErasedError, TamperedError, VaultRolledBackError
from tidegate.services.privacy.key_file import TenantKeys
from tidegate.services.privacy.vault import Vault
from tidegate.services.privacy.vault_records import VaultPaths


def copy_rows(paths: VaultPaths, into: Path) -> Path:
    """A copy of the vault as a backup takes it."""
    into.mkdir()
    for file in paths.rows.parent.iterdir():
        shutil.copy(file, into / file.name)
    return into


def put_back(paths: VaultPaths, backup: Path) -> None:
    for file in paths.rows.parent.iterdir():
        file.unlink()
    for file in backup.iterdir():
        shutil.copy(file, paths.rows.parent / file.name)


def test_a_copy_from_before_the_erasure_gives_nothing_of_the_erased_and_all_of_the_others(
    vault: Vault, paths: VaultPaths, tmp_path: Path
) -> None:
    mine, other = vault.put_all("kiosk", ANN, [("NAME", "Ann")])[0], vault.put_all("kiosk", BEN, [("NAME", "Ben")])[0]
    sealed = vault.seal("kiosk", ANN, "r1", "My name is Ann")
    backup = copy_rows(paths, tmp_path / "backup")
    erased = vault.erase("kiosk", ANN)
    assert (erased.values, [len(each) for each in erased.key_ids], erased.epoch) == (1, [16], 2)
    assert (shown(vault, mine), shown(vault, other, BEN)) == (mine, "Ben")
    with pytest.raises(ErasedError):
        vault.unseal("kiosk", ANN, "r1", sealed)
    old = VaultPaths(backup / "vault.sqlite", paths.keys, tmp_path / "no.mark")
    with closing(Vault.open(old, KEY)) as of_yesterday:  # the site's key and the tenants' keys of today
        with pytest.raises(TamperedError):
            shown(of_yesterday, mine)
        with pytest.raises(TamperedError):
            of_yesterday.unseal("kiosk", ANN, "r1", sealed)
    assert vault.erase("kiosk", ANN) == (0, (), 3)
    assert shown(vault, other, BEN) == "Ben"


def test_who_was_erased_begins_anew_with_other_tokens(vault: Vault) -> None:
    before = vault.put_all("kiosk", ANN, [("NAME", "Ann")])[0]
    vault.erase("kiosk", ANN)
    after = vault.put_all("kiosk", ANN, [("NAME", "Ann")])[0]
    assert before != after, "whoever has the site's key cannot try out what the old token stood for"
    assert (shown(vault, before), shown(vault, after)) == (before, "Ann")


def test_a_token_is_restored_in_its_own_session_alone(vault: Vault) -> None:
    loan, rent = (vault.put_all("kiosk", ANN, [("NAME", "Ann")], session)[0] for session in ("loan", "rent"))
    assert loan != rent
    assert shown(vault, loan + rent, session="loan") == "Ann" + rent
    assert shown(vault, loan + rent, session="rent") == loan + "Ann"
    assert shown(vault, loan + rent) == loan + rent


@pytest.mark.parametrize("way", ["while closed", "under a process that has it open"])
def test_the_file_of_yesterday_is_refused_until_a_person_takes_it(
    vault: Vault, paths: VaultPaths, tmp_path: Path, way: str
) -> None:
    token = vault.put_all("kiosk", ANN, [("NAME", "Ann")])[0]
    backup = copy_rows(paths, tmp_path / "backup")
    vault.put_all("kiosk", BEN, [("NAME", "Ben")])
    if way == "while closed":
        vault.close()
        put_back(paths, backup)
    else:
        vault._file.overwrite_deleted()
        for file in paths.rows.parent.iterdir():  # into the same inodes, as a careless restore does
            file.write_bytes((backup / file.name).read_bytes())
        with pytest.raises((VaultRolledBackError, sqlite3.DatabaseError)):
            vault.put_all("kiosk", BEN, [("NAME", "Ben")])
        vault.close()
        put_back(paths, backup)
    with pytest.raises(VaultRolledBackError, match="times before"):
        Vault.open(paths, KEY)
    with closing(Vault.open(paths, KEY, accept=True)) as taken:
        assert shown(taken, token) == "Ann"
    Vault.open(paths, KEY).close()


@pytest.mark.parametrize(
    "edit",
    [
        "DELETE FROM held",
        "UPDATE held SET expires_s = expires_s + 1",
        "INSERT INTO held SELECT tenant, asker || 'x', token, session, sealed, expires_s FROM held",
        "UPDATE state SET sequence = sequence + 1",
        "DELETE FROM state",
        "UPDATE keys SET asker = 'other'",
    ],
)
def test_rows_that_somebody_edited_are_refused(vault: Vault, paths: VaultPaths, edit: str) -> None:
    vault.put_all("kiosk", ANN, [("NAME", "Ann")])
    vault.close()
    with closing(sqlite3.connect(paths.rows)) as raw:
        raw.execute(edit)
        raw.commit()
    with pytest.raises(VaultRolledBackError):
        Vault.open(paths, KEY)
    Vault.open(paths, KEY, accept=True).close()


def test_a_mark_that_somebody_lowered_is_refused_and_one_that_is_gone_is_made_anew(
    vault: Vault, paths: VaultPaths
) -> None:
    vault.put_all("kiosk", ANN, [("NAME", "Ann")])
    vault.close()
    paths.mark.write_bytes(paths.mark.read_bytes().replace(b"1 ", b"0 ", 1))
    with pytest.raises(VaultRolledBackError):
        Vault.open(paths, KEY)
    Vault.open(paths, KEY, accept=True).close()
    paths.mark.unlink()
    Vault.open(paths, KEY).close()
    assert paths.mark.exists()


def test_a_vault_that_was_lost_begins_anew(vault: Vault, paths: VaultPaths) -> None:
    token = vault.put_all("kiosk", ANN, [("NAME", "Ann")])[0]
    vault.close()
    shutil.rmtree(paths.rows.parent)
    with closing(Vault.open(paths, KEY)) as fresh:
        assert shown(fresh, token) == token
        assert fresh.put_all("kiosk", ANN, [("NAME", "Ann")]) != [token]


def test_keys_are_exchanged_while_processes_use_the_vault(vault: Vault, paths: VaultPaths) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom tidegate.services.privacy.vault import Vault\n"
        "from tidegate.services.privacy.vault_records import VaultPaths\n"
        "vault = Vault.open(VaultPaths(*map(Path, sys.argv[1:4])), bytes(range(32)))\n"
        "print('ready', flush=True)\n"
        "done = 0\n"
        "while not Path(sys.argv[4]).exists():\n"
        "    token = vault.put_all('kiosk', sys.argv[5], [('NAME', f'P{done}')])[0]\n"
        "    assert vault.detokenise(token, 'kiosk', sys.argv[5], 'answer') == f'P{done}'\n"
        "    sealed = vault.seal('kiosk', sys.argv[5], 'r1', f'P{done}')\n"
        "    assert vault.unseal('kiosk', sys.argv[5], 'r1', sealed) == f'P{done}'\n"
        "    done += 1\n"
        "print(done)\n"
    )
    end = paths.rows.parent / "end"
    peers = [
        subprocess.Popen(
            [sys.executable, "-c", script, *map(str, paths), str(end), asker],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
        )
        for asker in (ANN, BEN)
    ]
    for peer in peers:
        assert peer.stdout is not None
        peer.stdout.readline()
    epochs = []
    for _ in range(12):
        epochs.append(vault.rotate("kiosk"))
        time.sleep(0.02)
    end.touch()
    printed = [peer.communicate(timeout=60)[0] for peer in peers]
    assert [peer.returncode for peer in peers] == [0, 0]
    assert all(int(done) > 1 for done in printed)
    assert epochs == list(range(epochs[0], epochs[0] + 12))
    assert TenantKeys(paths.keys, KEY).epochs("kiosk") == (epochs[-1],)


@pytest.mark.parametrize("cut_at", ["rewrap", "destroy_older"])
def test_an_exchange_that_is_cut_loses_nothing_and_is_finished_later(
    vault: Vault, paths: VaultPaths, cut_at: str
) -> None:
    token = vault.put_all("kiosk", ANN, [("NAME", "Ann")])[0]
    vault._keys._tenants.add("kiosk")  # what `rotate` does first; here it ends
    if cut_at == "destroy_older":
        with vault._file.changing() as changes:
            vault._keys.rewrap(changes, "kiosk")
    vault.close()
    with closing(Vault.open(paths, KEY)) as again:
        assert shown(again, token) == "Ann"
        assert again.put_all("kiosk", ANN, [("NAME", "Ann")]) == [token]
        again.rotate("kiosk")
        assert shown(again, token) == "Ann"
    assert len(TenantKeys(paths.keys, KEY).epochs("kiosk")) == 1


def test_what_is_past_its_time_is_not_shown_and_then_gone(paths: VaultPaths) -> None:
    now_s = 1_000_000.0
    with closing(Vault.open(paths, KEY, ttl_s=1000)) as vault:
        vault.clock = lambda: now_s
        token, kept = vault.put_all("kiosk", ANN, [("NAME", "Ann"), ("CITY", "Ulm")])
        sealed = vault.seal("kiosk", ANN, "r1", "Ann")
        now_s += 500
        vault.put_all("kiosk", ANN, [("CITY", "Ulm")])
        assert vault.expire() == 0
        now_s += 501
        assert (shown(vault, token), shown(vault, kept)) == (token, "Ulm")
        assert vault.unseal("kiosk", ANN, "r1", sealed) == "Ann"
        assert vault.expire() == 1
        now_s += 1000
        assert shown(vault, kept) == kept
        assert vault.expire() == 2, "the value and the key"
        with pytest.raises(ErasedError):
            vault.unseal("kiosk", ANN, "r1", sealed)
    data = b"".join(file.read_bytes() for file in paths.rows.parent.iterdir())
    assert token.encode() not in data
    assert kept.encode() not in data


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["put", "erase", "rotate", "expire", "reopen"]), st.integers(0, 2), st.integers(0, 3)
        ),
        max_size=14,
    )
)
def test_whatever_is_done_in_whatever_order_a_vault_shows_what_was_put_and_not_erased(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    paths = VaultPaths.beside(tmp_path_factory.mktemp("vault") / "vault.sqlite")
    vault = Vault.open(paths, KEY)
    held: dict[tuple[str, str], str] = {}
    gone: dict[tuple[str, str], str] = {}
    for verb, asker_number, number in steps:
        asker, value = f"asker{asker_number}", f"P{number}"
        if verb == "put":
            held[asker, vault.put_all("kiosk", asker, [("NAME", value)])[0]] = value
        elif verb == "erase":
            vault.erase("kiosk", asker)
            gone |= {key: held.pop(key) for key in list(held) if key[0] == asker}
        elif verb == "rotate":
            vault.rotate("kiosk")
        elif verb == "expire":
            vault.expire()
        else:
            vault.close()
            vault = Vault.open(paths, KEY)
    assert all(shown(vault, token, asker) == value for (asker, token), value in held.items())
    assert all(shown(vault, token, asker) == token for asker, token in gone)
    vault.close()
