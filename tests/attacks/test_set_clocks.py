"""Whoever sets a clock, by a forged answer of a time server or by mistake, makes nothing younger than it is, and leaves
nothing wrong that stays so when the clock is right again."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.oidc_tokens import ISSUER, key_set, token
from tests.support.trust_hub import BOOT, BUDGET, DAY, NOW, POLICY, TrustHub, at
from tidegate.services.access.access_keys import AccessKeys
from tidegate.services.access.faults import CredentialRefusedError
from tidegate.services.access.oidc import OidcTokens
from tidegate.services.access.settings import OidcSettings
from tidegate.services.fleet.access import open_access_keys
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.vault import open_vault
from tidegate.services.settings import Settings
from tidegate.sync.rules.staleness import HeldArtefact, Now, rung_at
from tidegate.sync.rules.steady_clock import (
    BELIEVED_AFTER_MS,
    DRIFT_PPM,
    STEP_MS,
    SteadyTime,
    steady_time,
)
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.standing import read_machine_clock
from tidegate.sync.trust.steady_clock import STEADY_FILE, SteadyClock
from tidegate.sync.trust.trusted_clock import TIME_FILE, TrustedClock

pytestmark = pytest.mark.anyio

MINUTE, HOUR, YEAR = 60_000, 3_600_000, 365 * DAY


class SetMachine:
    """The machine of a hub: what has passed since `NOW`, and how far its wall clock was set away from that."""

    def __init__(self) -> None:
        self.passed_ms = 0
        self.set_by_ms = 0

    def clocks(self) -> Now:
        return at(NOW + self.passed_ms, NOW + self.passed_ms + self.set_by_ms)


def rung_of(site: RepositoryClient, passed_ms: int) -> str:
    """What a site may still do with the policy that it holds, so long after `NOW`."""
    held = HeldArtefact(name=POLICY, budget=BUDGET, current_at_ms=site.generation().hub_time_ms)
    return rung_at(site.clock.judge(at(NOW + passed_ms)).trusted_ms - held.current_at_ms, held.budget)


@pytest.mark.parametrize("set_by_ms", [YEAR, -YEAR, 3 * HOUR, -3 * HOUR])
async def test_a_hub_whose_clock_was_set_for_a_minute_has_its_sites_at_work_before_during_and_after(
    tmp_path: Path, set_by_ms: int
) -> None:
    machine, hub = SetMachine(), TrustHub(tmp_path / "hub")
    clock = SteadyClock(tmp_path / STEADY_FILE, machine.clocks)
    hub.publish(b"policy")
    site = hub.client(tmp_path / "site")
    for passed_ms, set_by in (
        (MINUTE, 0),
        (2 * MINUTE, set_by_ms),
        (3 * MINUTE, set_by_ms),
        (4 * MINUTE, 0),
        (3 * DAY, 0),
    ):
        machine.passed_ms, machine.set_by_ms = passed_ms, set_by
        hub.repository.renew(hub.signers(), clock.now_ms())
        await site.refresh(at(NOW + passed_ms))
        assert rung_of(site, passed_ms) == "full"
        assert bool(clock.fault) == bool(set_by), "whoever asks how the hub is, hears of it"
    assert rung_of(site, 6 * DAY) == "evidence-only", "three days without the hub are three days"
    assert abs(clock.now_ms() - NOW - 3 * DAY) <= STEP_MS


def test_a_process_that_starts_while_the_clock_is_set_goes_by_what_the_one_before_stored(tmp_path: Path) -> None:
    machine = SetMachine()
    SteadyClock(tmp_path / STEADY_FILE, machine.clocks).store()
    machine.passed_ms, machine.set_by_ms = HOUR, -YEAR
    again = SteadyClock(tmp_path / STEADY_FILE, machine.clocks)
    assert again.now_ms() == NOW + HOUR
    assert "set back by 31536000 s" in again.fault
    machine.set_by_ms = YEAR
    assert again.now_ms() == NOW + HOUR
    assert "set ahead by 31536000 s" in again.fault


def test_a_clock_that_stays_ahead_is_believed_after_an_hour_and_one_that_stays_back_never(tmp_path: Path) -> None:
    machine = SetMachine()
    clock = SteadyClock(tmp_path / STEADY_FILE, machine.clocks)
    for way in (-1, 1):
        machine.set_by_ms = way * 2 * HOUR
        begins = machine.passed_ms
        while machine.passed_ms < begins + BELIEVED_AFTER_MS + MINUTE:
            machine.passed_ms += MINUTE
            clock.now_ms()
        assert clock.now_ms() == NOW + machine.passed_ms + (2 * HOUR if way > 0 else 0)
        assert bool(clock.fault) == (way < 0)


def site_of(state: Path) -> Settings:
    return Settings(site="site1", state_dir=str(state))


def set_ahead(settings: Settings, by_ms: int) -> None:
    """Have this machine's wall clock be one that was set ahead, by what the site's sync worker has stored before."""
    now = read_machine_clock()
    before = Now(boot_id=now.boot_id, monotonic_ms=now.monotonic_ms, wall_ms=now.wall_ms - by_ms)
    SteadyClock(StatePaths(settings).trust / STEADY_FILE, lambda: before).store()


def test_an_access_key_that_has_ended_is_not_revived_by_a_wall_clock_that_was_set_back(tmp_path: Path) -> None:
    """The hub told its time, and then the site's wall clock was set back by a month: as if it told one in a month."""
    settings = site_of(tmp_path)
    keys = open_access_keys(settings)
    _, text = keys.issue("kiosk", "app", 7 * DAY)
    assert keys.check(text).tenant == "kiosk"
    trusted = TrustedClock(StatePaths(settings).trust / TIME_FILE)
    trusted.tell(read_machine_clock().wall_ms + 30 * DAY, read_machine_clock(), is_live=True)
    for each in (keys, open_access_keys(settings)):
        with pytest.raises(CredentialRefusedError):
            each.check(text)
    _, later = keys.issue("kiosk", "app", DAY)
    assert keys.check(later).tenant == "kiosk", "a new one is good all the same"


def test_a_site_that_has_started_anew_takes_no_key_that_had_ended_by_what_it_last_trusted(tmp_path: Path) -> None:
    settings = site_of(tmp_path)
    now, path = read_machine_clock(), StatePaths(settings).trust / TIME_FILE
    _, text = open_access_keys(settings).issue("kiosk", "app", 7 * DAY)
    before = Now(boot_id="cd" * 8, monotonic_ms=now.monotonic_ms, wall_ms=now.wall_ms + 30 * DAY)
    TrustedClock(path).tell(before.wall_ms, before, is_live=True)
    with pytest.raises(CredentialRefusedError):
        open_access_keys(settings).check(text)
    path.write_bytes(b"broken")
    assert open_access_keys(settings).check(text).tenant == "kiosk", "by no file it is as good as without one"


def test_without_a_hub_a_key_has_ended_when_either_clock_says_so(tmp_path: Path) -> None:
    """The machine was suspended without counting it: its steady clock is behind, and the wall clock is right."""
    settings = site_of(tmp_path)
    a_month_ago = read_machine_clock().wall_ms - 30 * DAY
    _, text = AccessKeys(StatePaths(settings).access_keys, lambda: a_month_ago).issue("kiosk", "app", 7 * DAY)
    set_ahead(settings, 30 * DAY)
    with pytest.raises(CredentialRefusedError):
        open_access_keys(settings).check(text)


def test_a_key_does_not_end_early_where_the_wall_clock_alone_is_ahead(tmp_path: Path) -> None:
    settings = site_of(tmp_path)
    trusted = TrustedClock(StatePaths(settings).trust / TIME_FILE)
    trusted.tell(read_machine_clock().wall_ms - 30 * DAY, read_machine_clock(), is_live=True)
    keys = open_access_keys(settings)
    key, text = keys.issue("kiosk", "app", 7 * DAY)
    assert key.expires_at_ms < read_machine_clock().wall_ms
    assert keys.check(text).tenant == "kiosk"


def test_a_provider_s_token_that_has_ended_is_not_revived_either(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(key_set("r1"))
    settings = OidcSettings(issuer=ISSUER, keys_file=str(tmp_path / "keys.json"))
    now_ms = read_machine_clock().wall_ms
    assert OidcTokens(settings, lambda: now_ms).check(token()).tenant == "kiosk"
    with pytest.raises(CredentialRefusedError, match="set back"):
        OidcTokens(settings, lambda: now_ms + HOUR).check(token())


def test_a_wall_clock_that_was_set_ahead_costs_nobody_what_the_vault_holds(tmp_path: Path) -> None:
    settings = site_of(tmp_path)
    before_s = (read_machine_clock().wall_ms - YEAR) / 1000
    with closing(open_vault(settings)) as vault:
        vault.clock = lambda: before_s
        [kept] = vault.put_all("kiosk", "ann", [("EMAIL", "ann@example.com")], "s")
    set_ahead(settings, YEAR)
    with closing(open_vault(settings)) as vault:
        assert vault.expire() == 0
        vault.put_all("kiosk", "bob", [("EMAIL", "bob@example.com")], "s")  # which deletes what has ended
        assert vault.detokenise(kept, "kiosk", "ann", "answer", "s") == "ann@example.com"


READINGS = st.lists(
    st.tuples(st.integers(0, 2 * HOUR), st.one_of(st.just(0), st.integers(-YEAR, YEAR)), st.booleans()), max_size=30
)


@given(READINGS)
def test_no_readings_make_the_time_go_back_or_slower_than_the_machine_s_own(
    readings: list[tuple[int, int, bool]],
) -> None:
    """Each: what passed, how far the wall clock is off, and whether the machine was started again in between."""
    known: SteadyTime | None = None
    passed_ms, boot, began_ms = 0, 0, 0
    for step_ms, off_ms, is_restarted in readings:
        if is_restarted:
            boot, began_ms = boot + 1, passed_ms
        passed_ms += step_ms
        now = Now(boot_id=f"{BOOT}{boot}", monotonic_ms=passed_ms - began_ms, wall_ms=NOW + passed_ms + off_ms)
        after = steady_time(known, now)
        if known is not None:
            slack_ms = 2 * (STEP_MS + 60 * HOUR * DRIFT_PPM // 1_000_000)
            assert after.told_ms >= known.told_ms
            assert after.told_ms >= known.told_ms + step_ms - slack_ms
        known = after


def test_a_wall_clock_that_was_set_back_is_no_way_to_have_a_step_of_the_time_in_many_small_ones() -> None:
    known = steady_time(None, at(NOW))
    for minutes in range(1, 600):
        passed_ms = minutes * MINUTE
        known = steady_time(known, at(NOW + passed_ms, NOW + passed_ms - minutes * STEP_MS // 2))
        assert known.told_ms >= NOW + passed_ms - STEP_MS - passed_ms * DRIFT_PPM // 1_000_000 - 1
