"""Writes what the servers of a hub and its sites read: configurations, nkeys, and where each of them listens.

    configure.py --out /etc/tidegate --state /var/lib/tidegate [--hub HOST[,HOST,HOST]] site1 site2

makes, and at a second time keeps, `<domain>/<role>.nk` for its operator and each of its workers, and in the hub's state
directory the seeds of leaves, which `tidegate site add` hands to sites (all mode 0600); and writes `<domain>/nats.conf`
and `fleet.json`, by which the operator's commands log in. A hub of several hosts has a `hub/nats-<n>.conf` for each,
and `hub/routes.key`, the password of its servers. What servers listen to is encrypted, by certificates of the
authority in the hub's state directory (`keys/tls`), made here where there is none; leaves show one, too. `--etc` says
where the files of a domain will be when its server runs. `--exchange site1/gateway`, `site1/leaf` or `site1/tls` makes
that key anew, where somebody else may have it.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tidegate.brokers.servers import conf
from tidegate.brokers.servers.applications import exports
from tidegate.brokers.servers.credentials import Credential, load_credential
from tidegate.brokers.servers.fleet import check_site_name
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import TidegateError, replace
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.errors import report
from tidegate.services.fleet.certificates import CertificateAuthority
from tidegate.services.fleet.endpoints import Endpoints
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.roles import roles_of
from tidegate.services.settings import Settings
from tidegate.sync.trust.site_records import SiteRecords

CLIENT_PORT, ROUTE_PORT, LEAF_PORT, MONITOR_PORT = 4222, 6222, 7422, 8222
SERVERS = (1, 3, 5)
"""How many a hub may have: more than half of them have to be there."""
STORE = "/var/lib/nats"
APPLICATIONS = "applications.conf"
"""Beside a site's configuration: the accounts of access keys that ask over NATS, which `tidegate keys issue` writes."""


def configure(
    out: Path, state: Path, sites: list[str], hub_host: str = f"{HUB}-nats", etc: str = "", applications: str = ""
) -> None:
    """Write everything below `out`; `state` is the hub's state directory, `hub_host` where sites find its server, or
    its three or five with commas between, `etc` where the files of each domain will be (empty: where they are written),
    `applications` the file in which a site's server will find the accounts of access keys (empty: one beside its
    configuration, made here).

    Raises `BadSiteNameError` before anything is written, `CertificateError`.
    """
    for site in sites:
        check_site_name(site)
    operators = {domain: load_credential(out / domain / "operator.nk") for domain in (HUB, *sites)}
    paths = StatePaths(Settings(site=HUB, state_dir=str(state)))
    leaves = {site: load_credential(paths.leaf_seed(site)) for site in sites}
    public = {site: leaf.public for site, leaf in leaves.items()}
    hosts = hub_host.split(",")
    named = {HUB: [*hosts, client_host(HUB)], **{site: [site, client_host(site)] for site in sites}}
    tls = certificates(out, CertificateAuthority(paths.tls), named, etc)
    served = SiteRecords(paths.site_records).tenants_of_sites()
    hub = conf.hub(operators[HUB].public, public, users(out, HUB, sites), tls[HUB], served)
    hub["leafnodes"] = {"listen": f"0.0.0.0:{LEAF_PORT}", **hub["leafnodes"]}
    write_hub(out / HUB, hub, hosts, tls[HUB])
    hub_url = [f"tls://{host}:{LEAF_PORT}" for host in hosts]
    for site, leaf in leaves.items():
        offers = conf.SiteAccount(users(out, site), exports(), included(out / site, etc, applications))
        settings = conf.site(site, operators[site].public, hub_url, leaf.seed(), offers, tls[site])
        write(out / site / "nats.conf", site, settings, tls[site])
    endpoints = endpoints_of(out, operators, hosts)
    fleet = Endpoints(pid=0, hub=endpoints.pop(HUB), sites=endpoints)
    (out / "fleet.json").write_bytes(msgspec.json.encode(fleet))


def endpoints_of(out: Path, operators: Mapping[str, Credential], hosts: list[str]) -> dict[str, NatsSettings]:
    """How the operator's commands reach the server of each domain, and those of a hub of several `hosts`."""
    endpoints = {
        domain: NatsSettings(
            url=f"tls://{client_host(domain)}:{CLIENT_PORT}",
            nkey_seed_file=str(client.seed_file.absolute()),
            tls_authority=str((out / domain / "ca.pem").absolute()),
        )
        for domain, client in operators.items()
    }
    if len(hosts) > 1:
        urls = ",".join(f"tls://{host}:{CLIENT_PORT}" for host in hosts)
        endpoints[HUB] = replace(endpoints[HUB], url=urls)
    return endpoints


def included(home: Path, etc: str, applications: str) -> str:
    """The file of the accounts as a site's configuration names it: nats-server looks for it from there."""
    if applications:
        return os.path.relpath(applications, etc or home.absolute())
    (home / APPLICATIONS).touch(mode=0o600)
    return APPLICATIONS


def client_host(domain: str) -> str:
    """Where clients of other machines find a domain's server."""
    return f"{domain}-nats"


def certificates(
    out: Path, authority: CertificateAuthority, hosts: dict[str, list[str]], etc: str
) -> dict[str, conf.TlsFiles]:
    """The files of each domain's server, by the names that its configuration has for them."""
    found = {}
    for domain, names in hosts.items():
        made = authority.issue((out / domain).absolute(), names)
        found[domain] = conf.TlsFiles(*(Path(etc) / file.name if etc else file for file in made))
    return found


def write_hub(directory: Path, hub: conf.Conf, hosts: list[str], tls: conf.TlsFiles) -> None:
    """The configuration of the hub's server, or of each of its servers."""
    if len(hosts) == 1:
        write(directory / "nats.conf", HUB, hub, tls)
        return
    password, routes = keep_password(directory / "routes.key"), [f"{host}:{ROUTE_PORT}" for host in hosts]
    for number in range(1, len(hosts) + 1):
        member = conf.ClusterMember(f"{HUB}-{number}", f"0.0.0.0:{ROUTE_PORT}", routes, password)
        write(directory / f"nats-{number}.conf", HUB, conf.clustered(hub, member, tls), tls)


def keep_password(path: Path) -> str:
    """The password in the file, made now (mode 0600) where there is none."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32))
    return path.read_text()


def users(out: Path, domain: str, sites: Sequence[str] = ()) -> list[conf.Conf]:
    """The workers of a domain, each with the nkey of its role."""
    roles = roles_of(domain, sites)
    return [role.user(domain, load_credential(out / domain / f"{role.name}.nk").public) for role in roles]


def write(path: Path, domain: str, settings: conf.Conf, tls: conf.TlsFiles) -> None:
    """One server's configuration, mode 0600: a site's holds the seed of its leaf."""
    full = {
        "server_name": domain,
        **conf.listener("0.0.0.0", CLIENT_PORT, tls),
        "http": f"127.0.0.1:{MONITOR_PORT}",
        **settings,
        "jetstream": {"store_dir": STORE, **settings["jetstream"]},
    }
    path.touch(mode=0o600)
    path.write_text(conf.render(full), "utf-8")


class NoSuchKeyError(TidegateError, ValueError):
    """What is to be exchanged is no key of a domain that is configured."""

    hint = (
        "name a domain and a role, as in site1/gateway, or site1/leaf, or the key of its certificate, as in site1/tls"
    )


def forget(out: Path, state: Path, names: Sequence[str], sites: Sequence[str]) -> None:
    """Take these keys (`<domain>/<role>`, `<site>/leaf`, `<domain>/tls`) away, so that they are made anew. Raises
    `NoSuchKeyError` before any is."""
    hub = StatePaths(Settings(site=HUB, state_dir=str(state)))
    known = {f"{site}/leaf": hub.leaf_seed(site) for site in sites}
    for domain in (HUB, *sites):
        roles = ("operator", *(role.name for role in roles_of(domain)))
        known |= {f"{domain}/{role}": out / domain / f"{role}.nk" for role in roles}
        known[f"{domain}/tls"] = out / domain / "tls.key"
    for name in names:
        if name not in known:
            raise NoSuchKeyError(f"{name!r} is no key of these domains")
    for name in names:
        known[name].unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the configuration of a hub and its sites.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True, help="the hub's state directory")
    parser.add_argument("--hub", default=f"{HUB}-nats", metavar="HOST[,HOST,HOST]", help="where sites find the hub")
    parser.add_argument("--etc", default="", metavar="DIR", help="where a domain's files will be")
    parser.add_argument("--applications", default="", metavar="FILE", help="where a site's server finds their accounts")
    parser.add_argument("--exchange", action="append", default=[], metavar="DOMAIN/ROLE", help="make this key anew")
    parser.add_argument("sites", nargs="+", metavar="SITE")
    arguments = parser.parse_args()
    if len(arguments.hub.split(",")) not in SERVERS:
        parser.error("a hub has one server, three or five: of two, neither goes on without the other")
    try:
        names = (arguments.hub, arguments.etc, arguments.applications)
        forget(arguments.out, arguments.state, arguments.exchange, arguments.sites)
        configure(arguments.out, arguments.state, arguments.sites, *names)
    except (TidegateError, OSError) as error:
        sys.exit(report(error, ()))


if __name__ == "__main__":
    main()
