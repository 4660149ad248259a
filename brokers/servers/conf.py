"""nats-server's configuration as data: what a hub and a site need, and how it is written down.

Next: nats_server.py, which runs a server with it; infra/nats has the same as files."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from tidegate.brokers.egress import is_own
from tidegate.brokers.topology.streams import DOWN, UP, UP_CONSUMER, down_consumer
from tidegate.schemas import TidegateError, subjects
from tidegate.schemas.verification_subjects import all_fast_lanes, all_verification_sessions

Conf = dict[str, Any]
Permissions = dict[str, dict[str, list[str]]]
"""What a user may `publish` to and `subscribe` to, each with the subjects to `allow`."""

ACCOUNT = "TIDEGATE"
ROUTE_USER = "route"
"""The name under which servers of a cluster log in to each other."""
INCLUDE = "include"
"""The key under which a configuration names a file, relative to its own, that belongs in its place."""
SERVICE_CONTROL = "$SRV.>"
"""Where instances of a micro service are asked about themselves: a site's own business, so no leaf carries it."""
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
GIB = 1 << 30
MAX_FILE = 1 << 40
"""More than the sizes of all streams together, however an operator enlarges them: nats-server refuses the one that goes
beyond. What bounds a site is its disk, which the gateway watches."""


class TlsFiles(NamedTuple):
    """PEM files of one side of a connection: its certificate, the private key of that, and the authority that it
    believes."""

    certificate: Path
    key: Path
    authority: Path


class SiteAccount(NamedTuple):
    """What a site's account has beside its operator: users, what other accounts may import, and the file with those
    accounts, relative to the configuration."""

    users: Sequence[Conf] = ()
    exports: Sequence[Conf] = ()
    included: str = ""


class ClearListenerError(TidegateError, ValueError):
    """A server would take clients, leaf nodes or servers of other machines without encryption."""

    hint = (
        "give its configuration a `tls { }` block with a certificate (`tidegate keys certificate` makes one), as "
        "`configure.py` does, or have it listen on 127.0.0.1 alone"
    )


def listener(host: str, port: int, tls: TlsFiles | None = None) -> Conf:
    """Where a server takes clients, which begin with the handshake where there is `tls`. Raises `ClearListenerError`
    for an address that others reach, without it."""
    check_listener(host, is_encrypted=tls is not None)
    encrypted = {"tls": {**_tls(tls), "timeout": 5}} if tls else {}
    return {"listen": f"{host}:{port}", **encrypted}


def check_listener(host: str, *, is_encrypted: bool, who: str = "clients") -> None:
    """Raises `ClearListenerError` where clients of other machines, or `who` else connects, would not be encrypted."""
    if not is_encrypted and not is_own(host):
        raise ClearListenerError(f"{who} would be taken on {host or 'every address'} without encryption")


class ClusterMember(NamedTuple):
    """One server of a hub that has several: its name, the address at which it takes the others, those of all of them
    (`host:port`), and the password that they share: a site's certificate alone makes nobody a server of the hub."""

    name: str
    listen: str
    routes: Sequence[str]
    password: str


def plain(domain: str) -> Conf:
    """What every server of ours has, and JetStream under `domain`. It names no users: alone, for tests of the broker
    on one machine, it asks nobody who they are.

    `sync_interval: always` because an acknowledged request must survive a power cut. Acks in the old form, because the
    new one ends the read loop of nats-py's ordered consumers.
    """
    return {
        "ping_interval": "5s",
        "ping_max": 2,
        "max_payload": 1 << 20,
        "lame_duck_duration": "30s",
        "lame_duck_grace_period": "1s",
        "feature_flags": {"js_ack_fc_v2": False},
        "jetstream": {"domain": domain, "max_mem": GIB, "max_file": MAX_FILE, "sync_interval": "always"},
    }


def hub(
    operator: str,
    sites: Mapping[str, str],
    users: Sequence[Conf] = (),
    leaf_tls: TlsFiles | None = None,
    tenants: Mapping[str, Collection[str]] | None = None,
) -> Conf:
    """The hub: `operator` is the public nkey of who may do everything, `sites` maps each site to the public nkey of its
    leaf, `users` are the others, as `user` makes them. With `leaf_tls` a leaf shows a certificate, then its nkey.
    `tenants` has those of sites that serve some only."""
    named = tenants or {}
    leaves = [_leaf(site, public, named.get(site, ())) for site, public in sorted(sites.items())]
    listener = {"tls": {**_tls(leaf_tls), "verify": True, "timeout": 5}} if leaf_tls else {}
    return {
        **plain(subjects.HUB),
        "leafnodes": {"no_advertise": True, "isolate_leafnode_interest": True, "compression": "s2_auto", **listener},
        **_account([user(operator), *users, *leaves]),
    }


def clustered(hub: Conf, member: ClusterMember, tls: TlsFiles | None = None) -> Conf:
    """The hub's configuration for one server of several, all of the same account: workers and leaves connect to any.

    Streams are on several of them where the topology says so (`retention.hub_replicas`). With `tls` the servers show
    each other certificates, and what goes between them is encrypted.
    """
    secured = {"tls": {**_certificates(tls), "verify": True, "timeout": 5}} if tls else {}
    login = f"{ROUTE_USER}:{quote(member.password, safe='')}"
    cluster = {
        "name": subjects.HUB,
        "listen": member.listen,
        "authorization": {"user": ROUTE_USER, "password": member.password, "timeout": 5},
        "routes": [f"nats-route://{login}@{address}" for address in member.routes],
        **secured,
    }
    return {**hub, "server_name": member.name, "cluster": cluster}


def site(
    name: str,
    operator: str,
    hub_url: str | Sequence[str],
    leaf_seed: str,
    offers: SiteAccount | None = None,
    leaf_tls: TlsFiles | None = None,
) -> Conf:
    """A site: complete in itself, and a leaf of the hub whenever there is a link, by any of the hub's servers;
    encrypted with `leaf_tls`."""
    offers = offers or SiteAccount()
    kept = [SERVICE_CONTROL, *subjects.SITE_ONLY, "_INBOX.>", "$O.>", "$KV.>", "$JS.API.>"]
    remote = {
        "urls": [hub_url] if isinstance(hub_url, str) else [*hub_url],
        "account": ACCOUNT,
        "nkey": leaf_seed,
        "first_info_timeout": "3s",
        "deny_exports": kept,
        "deny_imports": kept,
        **({"tls": {**_tls(leaf_tls), "timeout": 5}} if leaf_tls else {}),
    }
    return {
        **plain(name),
        "leafnodes": {"reconnect": "100ms", "remotes": [remote]},
        **_account([user(operator), *offers.users], offers),
    }


def leaf_permissions(site: str, tenants: Collection[str] = ()) -> Permissions:
    """What the hub lets a site's leaf send (`publish`) and receive (`subscribe`); nothing else crosses. `tenants` are
    those that it may ask for at once, for a verdict or in a session; empty: all.

    Every JetStream subject is spelt out: a wildcard inside one stops replication without an error (nats-server #4832).
    """
    publish = [
        *(f"$JS.{subjects.HUB}.API.CONSUMER.RESET.{stream}.{down_consumer(site)}" for stream in DOWN),
        *(f"$JS.FC.{stream}.{down_consumer(site)}.>" for stream in DOWN),
        *(subjects.source_up(site, stream) for stream in UP),
        "$JSC.R.>",
        *all_fast_lanes(site, tenants),
        subjects.ping(site),
        subjects.comparison(site),
        subjects.activation_vote(site),
        subjects.lease_of(site),
        subjects.heads_of(site),
        *all_verification_sessions(site, tenants),
    ]
    subscribe = [
        *(f"$JS.{site}.API.CONSUMER.RESET.{stream}.{UP_CONSUMER}" for stream in UP),
        *(f"$JS.FC.{stream}.{UP_CONSUMER}.>" for stream in UP),
        *(subjects.source_down(site, stream) for stream in DOWN),
        subjects.all_cloud_partials(site),
        "$JSC.R.>",
        f"{subjects.inbox_of(site)}.>",
    ]
    return {"publish": {"allow": publish}, "subscribe": {"allow": subscribe}}


def render(conf: Mapping[str, Any], indent: str = "") -> str:
    """The text that nats-server reads."""
    lines = []
    for key, value in conf.items():
        if key == INCLUDE:
            lines.append(f"{indent}{INCLUDE} {_quote(value)}\n")
        elif isinstance(value, Mapping):
            lines.append(f"{indent}{key} {{\n{render(value, indent + '  ')}{indent}}}\n")
        else:
            lines.append(f"{indent}{key}: {_quote(value)}\n")
    return "".join(lines)


def _quote(value: Any) -> str:
    """Nearly JSON: nats-server has no escape by `\\u`, and takes the characters themselves, as in a folder's name."""
    if isinstance(value, str):
        return '"' + "".join(_ESCAPES.get(each, each if each >= " " else f"\\x{ord(each):02x}") for each in value) + '"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quote(str(key))}: {_quote(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_quote, value)) + "]"
    return json.dumps(value)


def user(public: str, permissions: Permissions | None = None) -> Conf:
    """A client, and never a leaf, that shows the nkey `public`; without permissions it may do everything."""
    allowed = {"permissions": permissions} if permissions is not None else {}
    return {"nkey": public, "allowed_connection_types": ["STANDARD", "WEBSOCKET"], **allowed}


def _tls(files: TlsFiles) -> Conf:
    """Both ends begin with the handshake: nothing is told in clear. `handshake_first: auto` would ask in clear whoever
    has not begun within 50 ms, which a client over a long way or on a busy machine has not."""
    return {**_certificates(files), "handshake_first": True}


def _certificates(files: TlsFiles) -> Conf:
    named = {"cert_file": str(files.certificate), "key_file": str(files.key), "ca_file": str(files.authority)}
    return {**named, "min_version": "1.3"}


def _account(users: Sequence[Conf], offers: SiteAccount | None = None) -> Conf:
    exports = {"exports": list(offers.exports)} if offers and offers.exports else {}
    others = {INCLUDE: offers.included} if offers and offers.included else {}
    return {"accounts": {ACCOUNT: {"jetstream": "enabled", "users": list(users), **exports}, **others}}


def _leaf(site: str, public: str, tenants: Collection[str]) -> Conf:
    """A site, which speaks for itself only: by its leaf, or as the in-process runtime by a client of its own."""
    kinds = ["LEAFNODE", "LEAFNODE_WS", "STANDARD", "WEBSOCKET"]
    return {"nkey": public, "allowed_connection_types": kinds, "permissions": leaf_permissions(site, tenants)}
