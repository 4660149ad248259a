"""The authority of a fleet's servers: what it signs is believed by whoever believes it, and by nobody else."""

from __future__ import annotations

import contextlib
import socket
import ssl
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tidegate.brokers.servers.conf import TlsFiles
from tidegate.services.fleet import certificates
from tidegate.services.fleet.certificates import CertificateAuthority, CertificateError, trust_only


@contextlib.contextmanager
def serving(files: TlsFiles) -> Iterator[int]:
    """A server with this certificate on a port of the loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):  # the client does not believe, or the test is over
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) as encrypted:
                    encrypted.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listener.getsockname()[1])
    thread.join(5.0)


def shake_hands(port: int, context: ssl.SSLContext, host: str = "127.0.0.1") -> None:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection,
        context.wrap_socket(connection, server_hostname=host) as encrypted,
    ):
        encrypted.send(b"x")


@pytest.mark.parametrize("host", ["site1.example", "192.0.2.7", "127.0.0.1", "localhost"])
def test_a_server_is_believed_under_each_of_its_names(tmp_path: Path, host: str) -> None:
    files = CertificateAuthority(tmp_path / "tls").issue(tmp_path / "site1", ["site1.example", "192.0.2.7"])
    with serving(files) as port:
        shake_hands(port, ssl.create_default_context(cafile=str(files.authority)), host)


def strict(authority: Path) -> ssl.SSLContext:
    """What Python's clients are by themselves from 3.13 on: they believe only what keeps to RFC 5280."""
    context = ssl.create_default_context(cafile=str(authority))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def test_a_server_is_believed_by_clients_that_keep_to_the_rfc(tmp_path: Path) -> None:
    files = CertificateAuthority(tmp_path / "tls").issue(tmp_path / "site1", ["site1.example"])
    with serving(files) as port:
        shake_hands(port, strict(files.authority), "site1.example")
    itself = trust_only(str(files.certificate))
    itself.verify_flags |= ssl.VERIFY_X509_STRICT
    with serving(files) as port:
        shake_hands(port, itself)


def test_what_a_version_before_has_signed_is_made_anew_and_whoever_believed_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(
            x509.CertificateBuilder, "add_extension", only_what_there_was(x509.CertificateBuilder.add_extension)
        )
        files = CertificateAuthority(tmp_path / "tls").issue(tmp_path / "site1", ["site1.example"])
    believed_before = ssl.create_default_context(cafile=str(files.authority))
    with serving(files) as port, pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(port, strict(files.authority), "site1.example")

    CertificateAuthority(tmp_path / "tls").issue(tmp_path / "site1", ["site1.example"])

    for context in (strict(files.authority), believed_before):
        with serving(files) as port:
            shake_hands(port, context, "site1.example")


def only_what_there_was(add: Callable[..., x509.CertificateBuilder]) -> Callable[..., x509.CertificateBuilder]:
    """Builds certificates as they were before they named keys and uses of keys."""
    new = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier, x509.KeyUsage)

    def add_known(
        builder: x509.CertificateBuilder, extension: x509.ExtensionType, critical: bool
    ) -> x509.CertificateBuilder:
        return builder if isinstance(extension, new) else add(builder, extension, critical)

    return add_known


def test_neither_another_name_nor_another_authority_is_believed(tmp_path: Path) -> None:
    files = CertificateAuthority(tmp_path / "tls").issue(tmp_path / "site1", ["site1.example"])
    other = CertificateAuthority(tmp_path / "other")
    believers = [
        (ssl.create_default_context(cafile=str(files.authority)), "site2.example"),
        (ssl.create_default_context(cafile=str(other.certificate_file)), "site1.example"),
        (trust_only(str(other.issue(tmp_path / "x", ["site1.example"]).certificate)), "site1.example"),
    ]
    for context, host in believers:
        with serving(files) as port, pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(port, context, host)


def test_whoever_holds_the_certificate_itself_needs_neither_authority_nor_name(tmp_path: Path) -> None:
    files = CertificateAuthority(tmp_path / "tls").issue(tmp_path / "site1", ["site1.example"])
    with serving(files) as port:
        shake_hands(port, trust_only(str(files.certificate)), "anything.example")


def test_what_is_good_is_kept_and_what_is_not_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def issue(*hosts: str) -> bytes:
        return CertificateAuthority(tmp_path / "tls").issue(tmp_path / "site1", hosts).certificate.read_bytes()

    first = issue("site1.example")
    assert issue("site1.example") == first
    more = issue("site1.example", "192.0.2.7")
    assert more != first
    assert issue("192.0.2.7") == more
    (tmp_path / "site1" / "tls.key").unlink()
    again = issue("192.0.2.7")
    assert again != more
    monkeypatch.setattr(certificates, "RENEWED_BEFORE_END", certificates.LASTS)
    assert issue("192.0.2.7") != again


def test_private_keys_are_their_owner_s_alone(tmp_path: Path) -> None:
    files = CertificateAuthority(tmp_path / "tls").issue(tmp_path / "site1", ["site1"])
    for path in (files.key, tmp_path / "tls" / "ca.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_damaged_authority_is_named_and_not_replaced(tmp_path: Path, damage: bytes) -> None:
    CertificateAuthority(tmp_path / "tls")
    (tmp_path / "tls" / "ca.key").write_bytes(damage)
    with pytest.raises(CertificateError, match="no authority that can be read"):
        CertificateAuthority(tmp_path / "tls")
    assert (tmp_path / "tls" / "ca.key").read_bytes() == damage


@pytest.mark.parametrize("host", ["sité.example", "a\x00b\u1234"])
def test_what_can_be_no_name_of_a_host_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(CertificateError, match="no name of a host"):
        CertificateAuthority(tmp_path / "tls").issue(tmp_path / "site1", [host])
