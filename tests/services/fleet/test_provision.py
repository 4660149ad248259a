"""Whoever makes a hub and its sites at the same moment makes them once."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tidegate.services.fleet.provision import Enrolment, provision_fleet
from tidegate.services.settings import Settings
from tidegate.sync.trust.keys import KeyStore


def test_two_who_provision_at_once_make_each_key_once(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path / "state"))
    together = threading.Barrier(2)

    def provision(_: int) -> dict[str, Enrolment]:
        together.wait()
        return provision_fleet(settings, ("site1", "site2"))

    with ThreadPoolExecutor(2) as both:
        made = list(both.map(provision, range(2)))
    keys = KeyStore(tmp_path / "state" / "keys").register().keys
    assert set(Counter((key.owner, key.role) for key in keys).values()) == {1}
    assert {enrolment.identity.incarnation for one in made for enrolment in one.values()} == {1}
    assert sorted(enrolment.is_new for one in made for enrolment in one.values()) == [False, False, True, True]
