"""`tidegate vault forget`: the values of one asker go, those of others stay."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tidegate.services.cli import main
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.privacy.vault import Vault, asker_digest, load_site_key
from tidegate.services.settings import Settings


def test_one_asker_is_forgotten_and_the_others_are_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = StatePaths(Settings(state_dir=str(tmp_path)))
    key = load_site_key(paths.key)
    vault = Vault.open(paths.vault, key)
    owners = {name: asker_digest(key, "kiosk", name, "r1") for name in ("ann", "ben")}
    tokens = {name: vault.put_all("kiosk", owner, [("NAME", name.title())])[0] for name, owner in owners.items()}

    def forget(asker: str) -> dict[str, int]:
        with pytest.raises(SystemExit) as ended:
            main(["vault", "forget", asker, "--state", str(tmp_path), "--json"])
        assert ended.value.code == 0
        counted: dict[str, int] = msgspec.json.decode(capsys.readouterr().out)
        return counted

    assert [forget("nobody"), forget("ann"), forget("ann")] == [{"erased": 0}, {"erased": 1}, {"erased": 0}]
    assert vault.detokenise(tokens["ann"], "kiosk", owners["ann"]) == tokens["ann"]
    assert vault.detokenise(tokens["ben"], "kiosk", owners["ben"]) == "Ben"
    vault.close()
