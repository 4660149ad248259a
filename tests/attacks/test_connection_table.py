"""Which connections stay open, whatever clients do: bounds hold, and a crowd makes room for the others."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.gateway.http import connections
from tidegate.services.gateway.http.connections import ConnectionTable
from tidegate.services.gateway.settings import GatewayLimits

LIMITS = GatewayLimits(max_connections=4, max_connections_per_peer=2, max_silent_connections=5)
STEPS = st.lists(st.tuples(st.sampled_from(["silent", "work", "gone"]), st.integers(0, 14)), max_size=80)


def peer_of(number: int) -> str:
    return f"peer{number % 3}"


@given(STEPS)
def test_no_order_of_events_goes_beyond_a_bound_or_forgets_a_connection(steps: list[tuple[str, int]]) -> None:
    table = ConnectionTable(LIMITS)
    silent: set[int] = set()
    working: set[int] = set()
    for what, number in steps:
        if what == "silent":
            working.discard(number)
            silent.add(number)
            table.fall_silent(number, peer_of(number), partial(silent.discard, number))
        elif what == "work":
            of_peer = [each for each in working if peer_of(each) == peer_of(number)]
            has_room = number in working or (len(working) < 4 and len(of_peer) < 2)
            assert table.begin_work(number, peer_of(number)) is has_room
            if has_room:
                silent.discard(number)
                working.add(number)
        else:
            silent.discard(number)
            working.discard(number)
            table.forget(number)
        assert len(silent) <= LIMITS.max_silent_connections
        assert len(table) == len(silent) + len(working)


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1), st.ip_addresses(v=4))
def test_whoever_has_a_network_of_ipv6_has_the_connections_of_one(
    one: IPv6Address, other: int, v4: IPv4Address
) -> None:
    """The least that anybody is given of IPv6 has 2^64 addresses: each with its own limit is none."""
    neighbour = IPv6Address((int(one) >> 64 << 64) | other)
    is_mapped = any(each.ipv4_mapped is not None for each in (one, neighbour))
    assert is_mapped or connections.peer_of(str(one)) == connections.peer_of(f"{neighbour}%eth0")
    elsewhere = IPv6Address(int(one) ^ 1 << 64)
    assert connections.peer_of(str(one)) != connections.peer_of(str(elsewhere))
    assert connections.peer_of(str(v4)) == connections.peer_of(f"::ffff:{v4}") == str(v4)
    assert connections.peer_of("") == ""


def test_the_address_with_most_silent_connections_makes_room_and_the_longest_silence_ends() -> None:
    table = ConnectionTable(LIMITS)
    closed: list[str] = []
    for name in ("other", "crowd1", "crowd2", "crowd3", "crowd4", "late"):
        table.fall_silent(name, name.rstrip("1234"), partial(closed.append, name))
    assert closed == ["crowd1"]
    assert len(table) == LIMITS.max_silent_connections, "the others stay"
