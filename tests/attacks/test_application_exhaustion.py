"""What one application takes of a site's NATS server is bounded, and nobody else is turned away for it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import nats.errors
import pytest

from tests.support.intruders import Intruder, intruder
from tests.support.nats_fleet import until
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.applications import (
    INBOX,
    MOST_CONNECTIONS,
    MOST_SUBSCRIPTIONS,
    Application,
    account,
    exports,
    render_accounts,
)
from tidegate.brokers.servers.credentials import load_credential
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import NatsSettings

pytestmark = pytest.mark.anyio
MOST = 3


class Machine(NamedTuple):
    """A site's server, and how each application and its operator log in."""

    logins: dict[str, NatsSettings]

    @contextlib.asynccontextmanager
    async def clients(self, who: str, count: int) -> AsyncIterator[list[Intruder]]:
        async with contextlib.AsyncExitStack() as stack:
            yield [await stack.enter_async_context(intruder(self.logins[who], INBOX)) for _ in range(count)]


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    names = ("operator", "greedy", "modest")
    operator, *applications = (load_credential(tmp_path / f"{name}.nk") for name in names)
    accounts = {
        name: account(Application(f"key-{name}", "kiosk", each.public), most_connections=MOST)
        for name, each in zip(names[1:], applications, strict=True)
    }
    included, home = tmp_path / "applications.conf", tmp_path / "site1"
    included.write_text(conf.render(accounts))
    leaf = load_credential(tmp_path / "leaf.nk")
    offers = conf.SiteAccount((), exports(), f"../{included.name}")
    settings = conf.site("site1", operator.public, "nats-leaf://127.0.0.1:1", leaf.seed(), offers)
    async with Server("site1", home, settings, operator_seed=operator.seed_file) as server:
        yield Machine(
            {
                name: NatsSettings(url=server.url, nkey_seed_file=str(each.seed_file))
                for name, each in zip(names, (operator, *applications), strict=True)
            }
        )


async def test_a_key_has_its_connections_and_no_more_and_others_have_theirs(machine: Machine) -> None:
    async with machine.clients("greedy", MOST):
        with pytest.raises(nats.errors.Error):
            async with machine.clients("greedy", 1):
                pass
        async with machine.clients("modest", MOST), machine.clients("operator", MOST + 1):
            pass
    async with machine.clients("greedy", 1):
        pass


async def test_who_subscribes_without_end_is_cut_off(machine: Machine) -> None:
    async with machine.clients("greedy", 2) as (one, other):
        for number in range(MOST_SUBSCRIPTIONS + 1):
            with contextlib.suppress(nats.errors.ConnectionClosedError):
                await one.client.subscribe(f"{INBOX}.{number}")

        async def is_cut_off() -> bool:
            return not one.client.is_connected

        await until(is_cut_off)
        assert other.client.is_connected


def test_every_account_that_is_written_has_the_limits() -> None:
    text = render_accounts(Application(f"k{number}", "kiosk", "U" + "A" * 55) for number in range(3))
    assert text.count(f"max_connections: {MOST_CONNECTIONS}\n") == 3
    assert text.count(f"max_subscriptions: {MOST_SUBSCRIPTIONS}\n") == 3
