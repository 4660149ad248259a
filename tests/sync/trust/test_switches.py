"""A switch is on from the hub's word, or an incident's, until the hub's next one on its scope; nothing else ends it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trust_hub import NOW, TrustHub, at, describe, publish_bytes
from tidegate.schemas import UnreadableError
from tidegate.schemas.switch import Switch
from tidegate.sync.trust.holdings import Holdings
from tidegate.sync.trust.switches import (
    FILE,
    INCIDENTS,
    HeldSwitch,
    read_incidents,
    read_switches,
    switches_in,
    switches_on,
    write_incident,
    write_switches,
)

pytestmark = pytest.mark.anyio
SITES, CLASSES = st.sampled_from(["", "site1", "site2"]), st.sampled_from(["", "fees"])


class Event(NamedTuple):
    """Somebody's word on a scope: the hub's, on or off, or that of an incident at the site."""

    site: str
    class_name: str
    by: str


EVENTS = st.lists(st.builds(Event, SITES, CLASSES, st.sampled_from(["on", "off", "incident"])), max_size=12)


def switch(site: str = "", class_name: str = "", *, is_on: bool = True) -> Switch:
    return Switch(tenant="kiosk", site=site, class_name=class_name, is_on=is_on, why="drill", at_ms=NOW)


@given(EVENTS)
def test_the_last_word_on_a_scope_counts_and_only_the_hub_puts_one_off(events: list[Event]) -> None:
    signed: dict[str, HeldSwitch] = {}
    raised: dict[str, HeldSwitch] = {}
    expected: dict[tuple[str, str], bool] = {}
    for site, class_name, by in events:
        named = switch(site, class_name, is_on=by != "off")
        epoch = signed[named.name].epoch if named.name in signed else 0
        if by == "incident":
            raised[named.name] = HeldSwitch(named, epoch)
        else:
            signed[named.name] = HeldSwitch(named, epoch + 1, "d" * 64)
        expected[site, class_name] = by != "off"
    on = {(each.switch.site, each.switch.class_name) for each in switches_on(signed.values(), raised.values())}
    assert on == {scope for scope, is_on in expected.items() if is_on}


@given(SITES, CLASSES, SITES, CLASSES)
def test_a_scope_has_one_name_and_no_other_has_it(site: str, class_name: str, other: str, another: str) -> None:
    is_same = (site, class_name) == (other, another)
    assert (switch(site, class_name).name == switch(other, another, is_on=False).name) is is_same


@pytest.mark.parametrize(
    ("scope", "asked", "is_covered"),
    [
        (("", ""), ("kiosk", "site1", "fees"), True),
        (("", "fees"), ("kiosk", "site2", "fees"), True),
        (("", "fees"), ("kiosk", "site2", "cards"), False),
        (("site1", ""), ("kiosk", "site1", ""), True),
        (("site1", ""), ("kiosk", "site2", ""), False),
        (("", ""), ("other", "site1", "fees"), False),
    ],
)
def test_a_switch_covers_its_scope_and_nothing_else(
    scope: tuple[str, str], asked: tuple[str, str, str], is_covered: bool
) -> None:
    assert switch(*scope).covers(*asked) is is_covered


def test_what_is_written_is_read_and_what_is_damaged_is_named(tmp_path: Path) -> None:
    assert (read_switches(tmp_path), read_incidents(tmp_path)) == ((), ())
    held, raised = HeldSwitch(switch(), 3, "d" * 64), HeldSwitch(switch("site1"), 2)
    write_switches(tmp_path, (held,))
    write_incident(tmp_path, raised)
    assert (read_switches(tmp_path), read_incidents(tmp_path)) == ((held,), (raised,))
    (tmp_path / FILE).write_bytes(b"\xc1")
    with pytest.raises(UnreadableError, match=FILE):
        read_switches(tmp_path)
    [file] = (tmp_path / INCIDENTS).iterdir()
    file.write_bytes(b"\xc1")
    with pytest.raises(UnreadableError, match=file.name):
        read_incidents(tmp_path)


async def test_a_switch_is_activated_by_epoch_and_does_not_age(tmp_path: Path) -> None:
    hub, client = TrustHub(tmp_path / "hub"), TrustHub.client
    site = client(hub, tmp_path / "site")
    holdings = Holdings(tmp_path / "site", site.blobs)
    for epoch, is_on in ((1, True), (2, False)):
        named = switch(is_on=is_on)
        data = msgspec.json.encode(named)
        artefact = msgspec.structs.replace(describe(data, epoch, kind="switch", name=named.name), switch=named)
        publish_bytes(hub.repository, artefact, data, hub.signers(), NOW + epoch)
        generation = await site.refresh(lambda: at(NOW))
        path = f"artefacts/kiosk/switch/{named.name}"
        await site.fetch(path)
        holdings.activate(path, generation)
        [held] = switches_in(each.artefact for each in holdings.activated().values())
        assert (held.switch, held.epoch) == (named, epoch)
    assert holdings.held() == (), "a site with nothing else in force has nothing that could grow old"
