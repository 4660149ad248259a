"""The authority that signs the certificates of a fleet's servers (RFC 5280), and the files that a server reads.

Promises that a certificate which is still good is kept, so that the same call may be made at every deployment. Keys are
P-256, which every client knows. Private keys have mode 0600, and the authority's stays where the authority is. Next:
brokers/servers/conf.py, which names the files; services/cli/certificate.py.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tidegate.brokers.servers.conf import TlsFiles
from tidegate.schemas import TidegateError
from tidegate.sync.trust.files import PRIVATE, PUBLIC, replace_file

LASTS = datetime.timedelta(days=398)
"""What browsers accept at most."""
AUTHORITY_LASTS = datetime.timedelta(days=3650)
RENEWED_BEFORE_END = datetime.timedelta(days=60)
SKEW = datetime.timedelta(hours=1)
"""How far behind the clock of a site may be that is shown a certificate which was just made."""
SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class CertificateError(TidegateError, ValueError):
    """The authority's files are damaged, or a name can stand in no certificate."""

    hint = "a host is a DNS name or an IP address; the authority is <state>/keys/tls, of which there should be a backup"


class CertificateAuthority:
    """The authority in one directory: `ca.pem`, which whoever connects needs, and `ca.key`."""

    def __init__(self, directory: Path) -> None:
        """Made now where there is none. Raises `CertificateError`, `OSError`."""
        self.certificate_file = directory / "ca.pem"
        self._key_file = directory / "ca.key"
        if not self._key_file.exists():
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._create()
        try:
            self._certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
            key = serialization.load_pem_private_key(self._key_file.read_bytes(), None)
        except ValueError as error:
            raise CertificateError(f"{directory} holds no authority that can be read: {error}") from error
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # as it was made
        self._key = key
        if not _has(self._certificate, x509.SubjectKeyIdentifier):  # of a version before, which strict clients refuse
            self._certificate = self._certify(key)

    def issue(self, directory: Path, hosts: Sequence[str]) -> TlsFiles:
        """The files of a server that is found as any of `hosts`, and on its own machine; it may show them as a client,
        too. Kept where they are good for as long as `RENEWED_BEFORE_END`. Raises `CertificateError`, `OSError`."""
        names = list(map(_name_of, dict.fromkeys((*hosts, *LOOPBACK))))
        files = TlsFiles(directory / "tls.pem", directory / "tls.key", directory / "ca.pem")
        directory.mkdir(parents=True, exist_ok=True)
        replace_file(files.authority, self.certificate_file.read_bytes(), PUBLIC)
        if not self._is_good(files, names):
            key = ec.generate_private_key(ec.SECP256R1())
            replace_file(files.key, _private_pem(key), PRIVATE)
            certificate = self._sign(hosts[0] if hosts else "localhost", key, names)
            replace_file(files.certificate, certificate.public_bytes(serialization.Encoding.PEM), PUBLIC)
        return files

    def _is_good(self, files: TlsFiles, names: list[x509.GeneralName]) -> bool:
        try:
            found = x509.load_pem_x509_certificate(files.certificate.read_bytes())
            key = serialization.load_pem_private_key(files.key.read_bytes(), None)
            found.verify_directly_issued_by(self._certificate)
            named = list(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return False
        left = found.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
        is_strict = _has(found, x509.AuthorityKeyIdentifier)  # else of a version before
        return (
            is_strict
            and found.public_key() == key.public_key()
            and set(names) <= set(named)
            and left > RENEWED_BEFORE_END
        )

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, names: Sequence[x509.GeneralName]) -> x509.Certificate:
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        made = _builder(name, self._certificate.subject, self._key, key.public_key(), LASTS)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return made.add_extension(uses, critical=False).sign(self._key, hashes.SHA256())

    def _create(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._certify(key)
        replace_file(self._key_file, _private_pem(key), PRIVATE)

    def _certify(self, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        """Store the authority's own certificate. Whoever believed one before, of the same name and key, believes what
        this one has signed."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tidegate")])
        made = _builder("Tidegate", name, key, key.public_key(), AUTHORITY_LASTS)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        made = made.add_extension(SIGNS_CERTIFICATES, critical=True)
        certificate = made.sign(key, hashes.SHA256())
        replace_file(self.certificate_file, certificate.public_bytes(serialization.Encoding.PEM), PUBLIC)
        return certificate


def _has(certificate: x509.Certificate, kind: type[x509.ExtensionType]) -> bool:
    try:
        certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return False
    return True


def _builder(
    name: str,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePublicKey,
    lasts: datetime.timedelta,
) -> x509.CertificateBuilder:
    """With the identifiers of both keys (RFC 5280, 4.2.1.1 and 4.2.1.2): Python's clients ask for them from 3.13 on."""
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + lasts)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )


def _name_of(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        try:
            return x509.DNSName(host)
        except (ValueError, UnicodeError) as error:
            raise CertificateError(f"{host!r} is no name of a host") from error


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def trust_only(certificate: str) -> ssl.SSLContext:
    """What a client of this machine believes: this very certificate, whatever it is called by. Raises `OSError`."""
    context = ssl.create_default_context(cafile=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context
