"""`tidegate keys certificate`: the certificate of a server, signed by the fleet's own authority.

Next: services/fleet/certificates.py."""

from __future__ import annotations

from pathlib import Path

import click

from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.fleet.paths import StatePaths


@click.command("certificate")
@with_options("as_json")
@click.option("--host", "hosts", multiple=True, required=True, help="A name or address by which it is found; several.")
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), required=True, help="The directory for its files."
)
def certificate(options: CommandOptions, hosts: tuple[str, ...], into: Path) -> None:
    """Make a certificate, its key and a copy of the authority's: tls.pem, tls.key, ca.pem.

    For the HTTP endpoint of a site (`gateway.tls`) or a NATS server. The authority is made where there is none, in
    <state>/keys/tls. One that is good for 60 days more is kept.
    """
    from tidegate.services.fleet.certificates import CertificateAuthority

    files = CertificateAuthority(StatePaths(options.settings()).tls).issue(into, hosts)
    lines = (
        f"{files.certificate} and {files.key}, for {', '.join(hosts)} and this machine",
        f"whoever connects believes {files.authority}",
    )
    print_result({name: str(path) for name, path in files._asdict().items()}, "\n".join(lines), options.as_json)
