"""The edge runtime says what is missing, and what to do about it, before it opens anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.paths import MODELS
from tidegate import EdgeRuntime
from tidegate.brokers.servers.credentials import NkeySeedError
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import TidegateError
from tidegate.services.cli.options import find_default_pack
from tidegate.services.runtime import HubAddressError, NotPreparedError
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("missing", ["models", "policies", "indices"])
async def test_a_directory_that_is_not_there_is_named_with_what_makes_it(tmp_path: Path, missing: str) -> None:
    directories = {
        "models": MODELS,
        "policies": find_default_pack(),
        "indices": tmp_path,
        missing: tmp_path / "nowhere",
    }
    with pytest.raises(NotPreparedError, match=f"{missing}: there is no directory .*nowhere") as raised:
        await EdgeRuntime.init(directories["models"], directories["policies"], directories["indices"])
    assert "tidegate" in raised.value.hint


@pytest.mark.parametrize(
    "url", ["", "hub", "hub:4222", "http://hub:4222", "nats://", "nats://:4222", "nats://[", "nats://hub:99999"]
)
async def test_what_is_no_address_of_a_server_is_refused_at_once(tmp_path: Path, url: str) -> None:
    os.chmod(tmp_path, 0o755)
    with pytest.raises(HubAddressError, match="not the address") as raised:
        await EdgeRuntime.init(MODELS, find_default_pack(), tmp_path, hub_url=url)
    assert os.stat(tmp_path).st_mode & 0o777 == 0o750, "no other user of the machine reads what it keeps"
    assert "nats://HOST" in raised.value.hint


@pytest.mark.parametrize("missing", ["models", "indices"])
async def test_what_was_never_prepared_is_an_error_of_ours_with_a_hint(tmp_path: Path, missing: str) -> None:
    directories = {"models": MODELS, "policies": find_default_pack(), "indices": tmp_path / "state"}
    directories["indices"].mkdir()
    if missing == "models":
        directories["models"] = tmp_path
    with pytest.raises(TidegateError) as raised:
        await EdgeRuntime.init(directories["models"], directories["policies"], directories["indices"])
    assert raised.value.hint


async def test_a_login_that_is_not_there_or_is_none_is_an_error_and_no_silence(tmp_path: Path) -> None:
    seed = tmp_path / "site.nk"
    with_login = Settings(nats=NatsSettings(nkey_seed_file=str(seed)))
    with pytest.raises(NotPreparedError, match=r"there is no file .*site\.nk"):
        await EdgeRuntime.init(MODELS, find_default_pack(), tmp_path, with_login, "nats://127.0.0.1:4222")
    seed.write_text("no seed")
    async with Server("hub", tmp_path / "nats") as server:
        with pytest.raises(NkeySeedError, match="holds no nkey seed"):
            await EdgeRuntime.init(MODELS, find_default_pack(), tmp_path, with_login, server.url)
