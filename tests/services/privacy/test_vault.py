"""The vault: tokens are the same each time, values open for their owner only, nothing is on disk in clear."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.paths import ROOT
from tests.support.vault_samples import ANN, BEN, KEY
from tidegate.schemas.vault_token import VAULT_TOKEN, tokens_in
from tidegate.services.privacy.faults import ErasedError, TamperedError, VaultDamagedError, VaultUnusableError
from tidegate.services.privacy.vault import Vault


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    opened = Vault.open(tmp_path / "site" / "vault.sqlite", KEY)
    yield opened
    opened.close()


def test_a_token_names_the_kind_and_restores_to_the_value(vault: Vault) -> None:
    token = vault.put_all("kiosk", ANN, [("EMAIL", "ann@example.org")])[0]
    assert VAULT_TOKEN.fullmatch(token)
    assert token.startswith("<EMAIL_")
    assert (
        vault.detokenise(f"Mail {token}, or {token}.", "kiosk", ANN, "answer")
        == "Mail ann@example.org, or ann@example.org."
    )


@pytest.mark.parametrize("damaged", [b"garbage{" * 100, b"SQLite format 3\0" + b"\xff" * 200])
def test_a_file_that_is_no_vault_is_an_error_that_says_what_to_do(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "vault.sqlite"
    path.write_bytes(damaged)
    with pytest.raises(VaultDamagedError, match=r"vault\.sqlite") as failed:
        Vault.open(path, KEY)
    assert "backup" in failed.value.hint
    assert path.read_bytes() == damaged


def test_a_vault_that_the_system_keeps_closed_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "vault.sqlite").mkdir()
    with pytest.raises(VaultUnusableError, match=r"vault\.sqlite") as refused:
        Vault.open(tmp_path / "vault.sqlite", KEY)
    assert "move it away" not in refused.value.hint


def test_the_same_value_has_the_same_token_after_reopening_and_no_other_value_has_it(tmp_path: Path) -> None:
    cases = [
        ("kiosk", ANN, "NAME", "Ann"),
        ("kiosk", ANN, "NAME", "Anna"),
        ("kiosk", ANN, "CARD", "Ann"),
        ("kiosk", BEN, "NAME", "Ann"),
        ("shop", ANN, "NAME", "Ann"),
    ]
    rounds = []
    for _ in range(2):
        vault = Vault.open(tmp_path / "vault.sqlite", KEY)
        rounds.append([vault.put_all(tenant, asker, [(kind, value)])[0] for tenant, asker, kind, value in cases])
        vault.close()
    assert rounds[0] == rounds[1]
    assert len(set(rounds[0])) == len(cases)


def test_tokens_of_another_asker_tenant_or_of_nobody_stay_tokens(vault: Vault) -> None:
    token = vault.put_all("kiosk", ANN, [("NAME", "Ann")])[0]
    for tenant, asker in (("kiosk", BEN), ("shop", ANN), ("kiosk", "")):
        assert vault.detokenise(token, tenant, asker, "answer") == token
    forged = "<NAME_0123456789ab> <NAME_XYZ> <name_0123456789ab>"
    assert vault.detokenise(forged, "kiosk", ANN, "answer") == forged


def test_a_row_moved_to_another_owner_or_altered_does_not_open(vault: Vault, tmp_path: Path) -> None:
    token = vault.put_all("kiosk", ANN, [("NAME", "Ann")])[0]
    vault.put_all("kiosk", BEN, [("NAME", "Ben")])
    raw = sqlite3.connect(tmp_path / "site" / "vault.sqlite")
    raw.execute(
        "INSERT INTO held SELECT tenant, ?, token, session, sealed, expires_s FROM held WHERE asker = ?", (BEN, ANN)
    )
    raw.commit()
    with pytest.raises(TamperedError, match="cannot be decrypted"):
        vault.detokenise(token, "kiosk", BEN, "answer")
    [(sealed,)] = raw.execute("SELECT sealed FROM held WHERE asker = ?", (ANN,)).fetchall()
    raw.execute("UPDATE held SET sealed = ? WHERE asker = ?", (bytes([sealed[0] ^ 1]) + sealed[1:], ANN))
    raw.commit()
    raw.close()
    with pytest.raises(TamperedError):
        vault.detokenise(token, "kiosk", ANN, "answer")
    with pytest.raises(TamperedError):
        vault.put_all("kiosk", ANN, [("NAME", "Ann")])


def test_nothing_that_was_put_is_on_disk_in_clear(vault: Vault, tmp_path: Path) -> None:
    values = [f"Very Private Person {number}" for number in range(50)]
    vault.put_all("kiosk", ANN, [("NAME", value) for value in values])
    files = sorted((tmp_path / "site").iterdir())
    assert {file.name for file in files} >= {"vault.sqlite", "vault.sqlite-wal", "vault.sqlite-shm"}
    for file in files:
        data = file.read_bytes()
        assert b"Private" not in data
        assert "Private".encode("utf-16-le") not in data
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"NAME_" in b"".join(file.read_bytes() for file in files), "the scan looked where rows are"


def test_what_is_forgotten_is_gone_from_the_files_too(vault: Vault, tmp_path: Path) -> None:
    mine, other = vault.put_all("kiosk", ANN, [("NAME", "Ann")])[0], vault.put_all("kiosk", BEN, [("NAME", "Ben")])[0]
    assert vault.erase("kiosk", ANN).values == 1
    assert vault.detokenise(mine + other, "kiosk", ANN, "answer") == mine + other
    assert vault.detokenise(other, "kiosk", BEN, "answer") == "Ben"
    data = b"".join(file.read_bytes() for file in (tmp_path / "site").iterdir())
    assert mine.encode() not in data
    assert other.encode() in data


def test_a_batch_is_kept_whole_or_not_at_all(vault: Vault) -> None:
    with pytest.raises(ValueError, match="not a kind"):
        vault.put_all("kiosk", ANN, [("NAME", "Ann"), ("no kind", "x")])
    token = vault.put_all("kiosk", BEN, [("NAME", "Ann")])[0]
    assert vault.detokenise(token, "kiosk", ANN, "answer") == token
    assert vault.put_all("kiosk", ANN, []) == []


def test_threads_share_one_vault(vault: Vault) -> None:
    found: list[list[str]] = [[] for _ in range(4)]

    def work(mine: list[str]) -> None:
        mine.extend(vault.put_all("kiosk", ANN, [("NAME", f"Person {number}")])[0] for number in range(20))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [found[0]] * 4
    assert vault.detokenise(found[0][7], "kiosk", ANN, "answer") == "Person 7"


def test_what_is_put_beside_a_vault_that_was_closed_is_seen_by_other_processes(tmp_path: Path) -> None:
    """Two parts of one process hold a vault, and one of them ends: SQLite's locks must outlive it."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom tidegate.services.privacy.vault import Vault\n"
        "vault = Vault.open(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]))\n"
        "vault.seal('kiosk', sys.argv[3], 'r1', 'words')\n"
        "print('open', flush=True)\n"
        "token = sys.stdin.readline().strip()\n"
        "print(vault.detokenise(token, 'kiosk', sys.argv[3], 'answer'))\n"
    )
    path = tmp_path / "vault.sqlite"
    staying = Vault.open(path, KEY)
    Vault.open(path, KEY).close()
    command = [sys.executable, "-c", script, str(path), KEY.hex(), ANN]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as peer:
        assert peer.stdout is not None
        assert peer.stdout.readline() == "open\n"
        [token] = staying.put_all("kiosk", ANN, [("NAME", "Ada")])
        assert peer.communicate(f"{token}\n", timeout=60)[0] == "Ada\n"
    staying.close()


def test_processes_that_open_a_new_vault_at_once_all_succeed_and_agree(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom tidegate.services.privacy.site_key import load_site_key\n"
        "from tidegate.services.privacy.vault import Vault\n"
        "sys.stdin.readline()\n"
        "home = Path(sys.argv[1])\n"
        "vault = Vault.open(home / 'v' / 'vault.sqlite', load_site_key(home / 'k' / 'site.key'))\n"
        "print([vault.put_all('kiosk', 'a', [('NAME', f'P{n}')])[0] for n in range(20)])\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    peers = [
        subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)
    ]
    for peer in peers:
        assert peer.stdin is not None
        peer.stdin.write("go\n")
        peer.stdin.flush()
    printed = [peer.communicate(timeout=60)[0] for peer in peers]
    assert [peer.returncode for peer in peers] == [0] * 4
    assert printed == [printed[0]] * 4
    assert sorted(file.name for file in (tmp_path / "k").iterdir()) == ["site.key"]


def test_many_who_open_a_new_vault_at_once_all_succeed(tmp_path: Path) -> None:
    """SQLite refuses one in about 160 of them at once, whatever its timeout, where two switch a file to WAL."""
    failures: list[BaseException] = []
    for number in range(60):
        together = threading.Barrier(8)

        def open_and_close(path: Path, together: threading.Barrier = together) -> None:
            together.wait()
            try:
                Vault.open(path, KEY).close()
            except sqlite3.Error as error:
                failures.append(error)

        peers = [threading.Thread(target=open_and_close, args=(tmp_path / f"{number}.sqlite",)) for _ in range(8)]
        for peer in peers:
            peer.start()
        for peer in peers:
            peer.join()
    assert failures == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None, derandomize=True)
@given(text=st.text(max_size=200), asker=st.sampled_from([ANN, ""]))
def test_what_is_sealed_opens_for_its_request_alone(vault: Vault, text: str, asker: str) -> None:
    data = vault.seal("kiosk", asker, "r1", text)
    vault.seal("kios", asker, "kr1", text)
    assert vault.unseal("kiosk", asker, "r1", data) == text
    for tenant, rid in (("kiosk", "r2"), ("shop", "r1"), ("kiosr", "1"), ("kios", "kr1")):
        with pytest.raises(TamperedError):
            vault.unseal(tenant, asker, rid, data)


def test_what_is_sealed_for_an_asker_opens_for_no_other(vault: Vault) -> None:
    vault.seal("kiosk", BEN, "r1", "x")
    with pytest.raises(TamperedError):
        vault.unseal("kiosk", BEN, "r1", vault.seal("kiosk", ANN, "r1", "Ann"))
    with pytest.raises(ErasedError):
        vault.unseal("shop", ANN, "r1", vault.seal("kiosk", ANN, "r1", "Ann"))


def test_every_altered_byte_of_a_sealed_text_is_noticed(vault: Vault) -> None:
    data = vault.seal("kiosk", ANN, "r1", "Ann, 12")
    assert data != vault.seal("kiosk", ANN, "r1", "Ann, 12"), "a nonce of its own"
    assert b"Ann" not in data
    for at in range(len(data)):
        altered = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(TamperedError):
            vault.unseal("kiosk", ANN, "r1", altered)
    for length in range(len(data)):
        with pytest.raises(TamperedError):
            vault.unseal("kiosk", ANN, "r1", data[:length])


def test_tokens_are_listed_once_in_order() -> None:
    first, second = "<NAME_0123456789ab>", "<EMAIL_ba9876543210>"
    assert tokens_in(f"{first} {second} {first} <EMAIL_short> <EMAIL_0123456789AB>") == (first, second)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None, derandomize=True)
@given(values=st.lists(st.text(min_size=1, max_size=40), max_size=6), glue=st.text(alphabet="<>_aE \n", max_size=5))
def test_any_text_of_tokens_is_restored_to_its_values(vault: Vault, values: list[str], glue: str) -> None:
    tokens = vault.put_all("kiosk", ANN, [("NAME", value) for value in values])
    assert vault.detokenise(glue.join(tokens), "kiosk", ANN, "answer") == glue.join(values)
