"""Tokens of an OpenID provider: what is taken, and every way of being refused that RFC 8725 warns of."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.support.oidc_tokens import EC, ISSUER, OTHER, RSA, key_set, token
from tidegate.services.access.access_keys import AccessKeys
from tidegate.services.access.callers import Callers
from tidegate.services.access.faults import CredentialRefusedError, OidcSettingsError
from tidegate.services.access.oidc import OidcTokens
from tidegate.services.access.settings import OidcSettings


@pytest.fixture
def settings(tmp_path: Path) -> OidcSettings:
    path = tmp_path / "keys.json"
    path.write_text(key_set("r1", "e1", "shared"))
    return OidcSettings(issuer=ISSUER, keys_file=str(path))


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "r1"), (RSA, "PS256", "r1"), (EC, "ES256", "e1")])
def test_a_token_stands_for_its_tenant_and_its_subject(
    settings: OidcSettings, key: Any, algorithm: str, kid: str
) -> None:
    if algorithm == "PS256":  # the key set says which algorithm a key is for
        with pytest.raises(CredentialRefusedError):
            OidcTokens(settings).check(token(key, algorithm, kid))
        return
    caller = OidcTokens(settings).check(token(key, algorithm, kid))
    assert (caller.tenant, caller.role, caller.asker) == ("kiosk", "app", f"{ISSUER}#ada")
    assert not caller.speaks_for_others


REFUSED: dict[str, Any] = {
    "expired": lambda: token(exp=int(time.time()) - 3600),
    "not yet": lambda: token(nbf=int(time.time()) + 3600),
    "of another issuer": lambda: token(iss="https://id.example.evil"),
    "for somebody else": lambda: token(aud="another"),
    "without an end": lambda: token(exp=None),
    "without a subject": lambda: token(sub=None),
    "with an empty subject": lambda: token(sub=""),
    "with a subject that is no name": lambda: token(sub="a\nb"),
    "of no tenant": lambda: token(tenant=None),
    "of a tenant that is no name": lambda: token(tenant="Bank!"),
    "of a list of tenants": lambda: token(tenant=["kiosk"]),
    "of no role that we know": lambda: token(role="root"),
    "signed by another key": lambda: token(OTHER),
    "of a key that is not there": lambda: token(kid="r2"),
    "of no key": lambda: token(kid=None),
    "of a shared secret": lambda: token("secret-secret-secret-secret-secret", "HS256", "shared"),
    "not signed": lambda: token(None, "none", "r1"),
    "no token": lambda: "abc",
    "too long": lambda: token(more="x" * 10_000),
    "cut": lambda: token()[:-5],
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED.keys())
def test_a_token_is_refused(settings: OidcSettings, make: Any) -> None:
    with pytest.raises(CredentialRefusedError):
        OidcTokens(settings).check(make())


def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(settings: OidcSettings) -> None:
    """The old confusion of algorithms: whoever has the key set would be whoever they like."""
    import base64
    import hashlib
    import hmac

    def part(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    public = Path(settings.keys_file).read_bytes()
    claims = {"iss": ISSUER, "aud": "tidegate", "sub": "eve", "tenant": "kiosk", "exp": int(time.time()) + 60}
    head = part(b'{"alg":"HS256","kid":"r1"}') + b"." + part(json.dumps(claims).encode())
    forged = head + b"." + part(hmac.new(public, head, hashlib.sha256).digest())
    with pytest.raises(CredentialRefusedError):
        OidcTokens(settings).check(forged.decode())


def test_roles_and_tenants_are_found_where_the_settings_say(settings: OidcSettings) -> None:
    deep = msgspec.structs.replace(settings, tenant_claim="org.unit", role_claim="roles", default_tenant="kiosk")
    tokens = OidcTokens(deep)
    assert tokens.check(token(tenant=None, org={"unit": "bank"}, roles=["x", "operator"])).role == "operator"
    assert tokens.check(token(tenant=None, org={"unit": "bank"})).tenant == "bank"
    assert tokens.check(token(tenant=None)).tenant == "kiosk"


def test_new_keys_count_as_soon_as_the_file_has_them(settings: OidcSettings) -> None:
    tokens, path = OidcTokens(settings), Path(settings.keys_file)
    fresh = path.with_suffix(".new")
    fresh.write_text(key_set("e1"))
    fresh.replace(path)
    with pytest.raises(CredentialRefusedError):
        tokens.check(token())
    assert tokens.check(token(EC, "ES256", "e1")).asker == f"{ISSUER}#ada"
    path.write_text("{")  # half a file is no reason to forget the keys
    assert tokens.check(token(EC, "ES256", "e1")).asker == f"{ISSUER}#ada"


@pytest.mark.parametrize("content", [None, "", "{", '{"keys": []}'])
def test_without_a_key_set_nothing_is_opened(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(OidcSettingsError):
        OidcTokens(OidcSettings(issuer=ISSUER, keys_file=str(path) if content is not None else ""))


def test_keys_and_tokens_live_side_by_side(settings: OidcSettings, tmp_path: Path) -> None:
    keys = AccessKeys(tmp_path / "access.json", lambda: 0)
    _, text = keys.issue("bank", "app", 1000)
    both, keys_only = Callers(keys, OidcTokens(settings)), Callers(keys)
    assert (both.check(text).tenant, both.check(token()).tenant) == ("bank", "kiosk")
    with pytest.raises(CredentialRefusedError):
        keys_only.check(token())
    with pytest.raises(CredentialRefusedError, match="no credential"):
        both.check("")


def as_key(key: Any, **fields: Any) -> dict[str, Any]:
    """A key as a key set has it; a private one as such."""
    return {**RSAAlgorithm.to_jwk(key, as_dict=True), "kid": "r1", **fields}


SETS: dict[str, Any] = {
    "two of one name": lambda: [as_key(RSA.public_key()), as_key(OTHER.public_key())],
    "private": lambda: [as_key(RSA)],
    "short": lambda: [as_key(rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key())],
}


@pytest.mark.parametrize("make", SETS.values(), ids=SETS.keys())
def test_a_key_set_by_which_others_could_write_tokens_is_refused(settings: OidcSettings, make: Any) -> None:
    opened, path = OidcTokens(settings), Path(settings.keys_file)
    path.write_text(json.dumps({"keys": make()}))
    assert opened.check(token()).asker == f"{ISSUER}#ada"  # what was read before holds
    with pytest.raises(OidcSettingsError, match="r1"):
        OidcTokens(settings)


def test_a_key_that_is_there_to_encrypt_signs_nothing(settings: OidcSettings) -> None:
    Path(settings.keys_file).write_text(json.dumps({"keys": [as_key(RSA.public_key(), use="enc")]}))
    with pytest.raises(CredentialRefusedError):
        OidcTokens(settings).check(token())
