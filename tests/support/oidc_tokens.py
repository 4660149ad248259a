"""Tokens as an OpenID provider signs them, and its set of keys."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

ISSUER = "https://id.example"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_set(*names: str) -> str:
    """A set with the keys of these names."""
    known = {
        "r1": {**RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "kid": "r1", "alg": "RS256"},
        "e1": {**ECAlgorithm.to_jwk(EC.public_key(), as_dict=True), "kid": "e1", "alg": "ES256"},
        "shared": {"kty": "oct", "kid": "shared", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"},
    }
    return json.dumps({"keys": [known[name] for name in names]})


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "r1", **claims: Any) -> str:
    """A token of ada, good for a minute; a claim that is None is left out."""
    now = int(time.time())
    body = {"iss": ISSUER, "aud": "tidegate", "sub": "ada", "exp": now + 60, "tenant": "kiosk", **claims}
    body = {name: value for name, value in body.items() if value is not None}
    return jwt.encode(body, key, algorithm=algorithm, headers={"kid": kid} if kid else None)
