"""What a nats-server refuses to a user: nothing of it is delivered, and an entry of the audit log names the user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from tests.support.audited_refusals import entry_of
from tests.support.nats_fleet import Linked, linked, until
from tidegate.brokers.process.background import running
from tidegate.brokers.servers.credentials import load_credential
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.refusal_counts import RefusalCounts, RefusalKind
from tidegate.services.fleet.server_violations import ServerLog, look_after_servers, violation_in
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio


class Watched(NamedTuple):
    """A hub, a client with the credential of a site's leaf, and who that is."""

    fleet: Linked
    site: Client
    user: str
    state: Path

    @property
    def log(self) -> ServerLog:
        """The hub's log from now on."""
        return ServerLog(self.fleet.fleet.hub.log)

    async def expect(self, log: ServerLog, code: str, by: str) -> None:
        """Return when the log has this violation of this user, and no other."""
        found: list[RefusalKind] = []

        async def is_there() -> bool:
            found.extend(log.take())
            return bool(found)

        await until(is_there)
        assert found == [RefusalKind("", code, by, "violated")]
        counts = RefusalCounts()
        counts.add(found[0])
        entry, _ = entry_of(code, counts)
        assert entry.kind == "violated"


async def ignore(_: Exception) -> None:
    """The client hears of its violation; so do we, by the log."""


@pytest.fixture(scope="module")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    state = tmp_path_factory.mktemp("fleet")
    paths = StatePaths(Settings(state_dir=str(state), site="hub"))
    async with linked(state, ["site1"]) as fleet:
        credential = load_credential(paths.leaf_seed("site1"))
        client = await nats.connect(fleet.fleet.hub.url, nkeys_seed=str(credential.seed_file), error_cb=ignore)
        yield Watched(fleet, client, f"nats nkey:{credential.public}", state)
        await client.close()


@pytest.mark.parametrize(
    "subject",
    [
        "cloud.site2.verify",
        "cloud.site2.session.any",
        "cloud.site2.lease",
        "escalations.site1.kiosk.r1",
        "escalations.site2.kiosk.r1",
        "verdicts.site1.kiosk.r1",
        "artefacts.kiosk.policy.safe",
        "corpus.kiosk.faq.d1",
        "sync.site2.up.ESCALATIONS",
        "$JS.API.STREAM.DELETE.ESCALATIONS",
        "$JS.API.STREAM.MSG.DELETE.VERDICTS",
        "$JS.API.CONSUMER.CREATE.VERDICTS",
        "$JS.hub.API.STREAM.DELETE.ESCALATIONS",  # the API by the domain's name, as mirrors call it
        "$JS.hub.API.STREAM.MSG.GET.VERDICTS",
        "$JS.hub.API.DIRECT.GET.VERDICTS.verdicts.site2.kiosk.r1",
        "$JS.hub.API.CONSUMER.RESET.VERDICTS.to-site2",  # another site's mirror begins anew, or goes past something
        "$JS.FC.VERDICTS.to-site2.x.y",
        "$JS.ACK.VERDICTS.to-site2.1.1.1.1.1",
        "$O.policy.C.safe.u1",  # object and key-value buckets
        "$O.policy.M.safe",
        "$KV.policy.safe",
        "cloud.site1.partial.kiosk.r1",  # what the hub alone says
        "cloud.site1.session",
        "claims.site1.kiosk.r1.q",
        "_INBOX_hub.forged.reply",
        "_INBOX_site2.forged.reply",
        "$SRV.PING",
        "$SYS.REQ.SERVER.PING",
    ],
)
async def test_a_site_publishes_under_no_subject_but_its_own(watched: Watched, subject: str) -> None:
    heard: list[str] = []

    async def hear(message: object) -> None:
        heard.append(str(message))

    listening = await watched.fleet.hub.subscribe(subject, cb=hear)
    await watched.fleet.hub.flush()
    log = watched.log
    await watched.site.publish(subject, b"forged")
    await watched.site.flush()
    await watched.expect(log, "forbidden_publish", watched.user)
    await watched.fleet.hub.flush()
    await listening.unsubscribe()
    assert heard == []


@pytest.mark.parametrize(
    "subject",
    [
        *(">", "verdicts.>", "cloud.site2.partial.>", "escalations.>", "_INBOX_site2.>", "_INBOX_hub.>", "$JS.>"),
        *("$O.>", "$KV.>", "$JS.hub.API.>", "sync.>", "sync.site2.down.VERDICTS", "claims.>", "cloud.*.partial.>"),
    ],
)
async def test_a_site_hears_nothing_that_is_not_its_own(watched: Watched, subject: str) -> None:
    heard: list[str] = []

    async def hear(message: object) -> None:
        heard.append(str(message))

    log = watched.log
    await watched.site.subscribe(subject, cb=hear)
    await watched.site.flush()
    await watched.fleet.hub.publish(subject.replace(">", "x").removeprefix("$JS."), b"not theirs")
    await watched.fleet.hub.flush()
    await watched.expect(log, "forbidden_subscription", watched.user)
    assert heard == []


async def test_who_has_no_credential_of_the_server_is_not_admitted(watched: Watched) -> None:
    log = watched.log
    with pytest.raises((nats.errors.Error, OSError)):
        await nats.connect(
            watched.fleet.fleet.hub.url, user="hub", password="hub", allow_reconnect=False, error_cb=ignore
        )
    await watched.expect(log, "not_admitted", "nats")


async def test_servers_that_are_kept_up_are_watched_and_a_flood_is_one_entry(watched: Watched) -> None:
    settings = Settings(state_dir=str(watched.state), site="hub")
    spool = EventSpool(StatePaths(settings).audit_events)
    spool.open()
    async with running(look_after_servers({"hub": watched.fleet.fleet.hub}, settings)):
        await asyncio.sleep(0.2)  # it looks from here on
        for _ in range(50):
            await watched.site.publish("cloud.site2.verify", b"forged")
        await watched.site.flush()

        async def is_reported() -> bool:
            return bool(spool.waiting(10))

        await until(is_reported)
    [waiting] = spool.waiting(10)
    assert waiting.event is not None
    assert (waiting.event.kind, waiting.event.act.by, waiting.event.act.count) == ("violated", watched.user, 50)
    assert "forged" not in f"{waiting.event}"


def test_a_log_is_read_by_whole_lines_once_and_anew_when_it_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "nats.log"
    log = ServerLog(path)
    assert log.take() == []
    line = f'{AT} - authentication error - User "x"\n'
    path.write_text(line + line[:20])
    assert len(log.take()) == 1
    assert log.take() == []
    with path.open("a") as file:
        file.write(line[20:])
    assert len(log.take()) == 1
    path.write_text(line)
    assert len(log.take()) == 1


USER, OTHER = "U" + "A" * 55, "U" + "B" * 55
AT = "[7] 2026/11/30 11:52:02.563741 [ERR] 127.0.0.1:36658 - cid:65"
WHO = f'"TIDEGATE/nkey:{USER}"'
PUBLISH, SUBSCRIBE = "Publish Violation - Subject", "Subscription Violation - Subject"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f'{AT} - "v2" - {WHO} - {PUBLISH} "a.b"', ("forbidden_publish", USER)),
        (f'{AT} - "v2" - {WHO} - {SUBSCRIBE} ">", SID 1', ("forbidden_subscription", USER)),
        (f'{AT} - "{OTHER}" - {WHO} - {PUBLISH} "a"', ("forbidden_publish", USER)),
        (f'{AT} - "nkey:{OTHER}" - {WHO} - {PUBLISH} "a"', ("forbidden_publish", "")),
        (f'{AT} - "v2" - {WHO} - {PUBLISH} "nkey:{OTHER}"', ("forbidden_publish", "")),
        (f'{AT} - authentication error - User "x"', ("not_admitted", "")),
        (f'{AT.replace("ERR", "INF")} - "Publish Violation"', None),
        (f'x {AT} - "Publish Violation"', None),
        ("", None),
    ],
)
def test_a_line_names_a_user_only_where_no_client_could_have_named_it(
    line: str, expected: tuple[str, str] | None
) -> None:
    found = violation_in(line)
    if expected is None:
        assert found is None
    else:
        code, user = expected
        assert found == ("", code, f"nats nkey:{user}" if user else "nats", "violated")
