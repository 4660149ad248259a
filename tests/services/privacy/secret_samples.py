"""Forms of secrets, made up by seed so that none is real, and texts that only look like them."""

from __future__ import annotations

import base64
import random
import string

ALNUM = string.ascii_letters + string.digits
LOWER = string.ascii_lowercase + string.digits
UPPER = string.ascii_uppercase + string.digits
HEX = "0123456789abcdef"
URL_SAFE = ALNUM + "_-"
CHANCE = random.Random(20)


def some(length: int, alphabet: str = ALNUM) -> str:
    """So many letters of the alphabet, of which one is a digit."""
    return "".join([*CHANCE.choices(alphabet, k=length - 1), "7"])


def token(part: object) -> str:
    """A part of a JSON web token."""
    return base64.urlsafe_b64encode(str(part).replace("'", '"').encode()).decode().rstrip("=")


JWT = f"{token({'alg': 'HS256', 'typ': 'JWT'})}.{token({'sub': '1234567890', 'name': 'Ann'})}.{some(43, URL_SAFE)}"
PEM = "-----BEGIN {kind} KEY-----\n{body}\n-----END {kind} KEY-----"

SECRETS: dict[str, tuple[str, str]] = {
    "access key of ours": ("tgk_" + some(12, "abcdefghij0123456789") + "_" + some(43), "my key is {}"),
    "password in JSON": ("hunter2" + some(6), '{{"user":"jo","password":"{}","note":"hello"}}'),
    "quoted word in JSON": ("swordfish", '{{"password": "{}", "n": 1}}'),
    "password of HTTP": ("am86aHVudGVyMmh1bnRlcjI=", "Authorization: Basic {}"),
    "aws key id": ("AKIA" + some(16, UPPER), "the key is {}"),
    "aws session key id": ("ASIA" + some(16, UPPER), "export AWS_ACCESS_KEY_ID={}"),
    "aws secret": (some(40), "aws_secret_access_key = {}"),
    "azure storage": (some(86) + "==", "AccountName=shop;AccountKey={};EndpointSuffix=core.windows.net"),
    "github classic": ("ghp_" + some(36), "use {} to push"),
    "github fine-grained": ("github_pat_" + some(22) + "_" + some(59), "use {} to push"),
    "github app": ("ghs_" + some(36), "token {} please"),
    "gitlab": ("glpat-" + some(20, URL_SAFE), "git clone with {}"),
    "gitlab runner": ("glrt-" + some(20, URL_SAFE), "register {}"),
    "google api": ("AIza" + some(35, URL_SAFE), "maps key {}"),
    "google oauth": ("GOCSPX-" + some(28, URL_SAFE), "client {}"),
    "slack bot": ("xoxb-" + some(12, string.digits) + "-" + some(12, string.digits) + "-" + some(24), "bot {}"),
    "slack app": ("xapp-1-" + some(11, UPPER) + "-" + some(13, string.digits) + "-" + some(64, HEX), "app {}"),
    "slack webhook": (
        f"https://hooks.slack.com/services/T{some(8, UPPER)}/B{some(8, UPPER)}/{some(24)}",
        "post to {} daily",
    ),
    "stripe live": ("sk_live_" + some(24), "charge with {}"),
    "stripe restricted": ("rk_live_" + some(24), "charge with {}"),
    "stripe test": ("sk_test_" + some(24), "charge with {}"),
    "sendgrid": ("SG." + some(22, URL_SAFE) + "." + some(43, URL_SAFE), "mail by {}"),
    "mailchimp": (some(32, HEX) + "-us12", "list {}"),
    "twilio key": ("SK" + some(32, HEX), "call by {}"),
    "telegram": ("1234567890:" + some(35, URL_SAFE), "bot at {}"),
    "discord": ("M" + some(23, URL_SAFE) + "." + some(6, URL_SAFE) + "." + some(27, URL_SAFE), "bot {}"),
    "npm": ("npm_" + some(36), "publish with {}"),
    "pypi": ("pypi-AgEIcHlwaS5vcmc" + some(80, URL_SAFE), "upload with {}"),
    "openai": ("sk-proj-" + some(48, URL_SAFE), "ask with {}"),
    "openai old": ("sk-" + some(20) + "T3BlbkFJ" + some(20), "ask with {}"),
    "anthropic": ("sk-ant-api03-" + some(80, URL_SAFE), "ask with {}"),
    "hugging face": ("hf_" + some(34), "pull with {}"),
    "digitalocean": ("dop_v1_" + some(64, HEX), "droplet {}"),
    "shopify": ("shpat_" + some(32, HEX), "shop {}"),
    "square": ("sq0csp-" + some(43, URL_SAFE), "pay by {}"),
    "postman": ("PMAK-" + some(24, HEX) + "-" + some(34, HEX), "postman {}"),
    "jwt": (JWT, "Authorization: Bearer {}"),
    "private key": (PEM.format(kind="RSA PRIVATE", body=some(64)), "{}"),
    "openssh key": (PEM.format(kind="OPENSSH PRIVATE", body=some(64)), "{}"),
    "encrypted key": (
        PEM.format(
            kind="RSA PRIVATE", body=f"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{some(32, UPPER)}\n\n{some(64)}"
        ),
        "{}",
    ),
    "pgp key": (f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n{some(64)}\n-----END PGP PRIVATE KEY BLOCK-----", "mine: {}"),
    "password in url": ("s3cret-Pa55", "connect to postgres://ann:{}@db.example.org/shop"),
    "assigned password": ("correct-horse-9", "password: {}"),
    "quoted password": ("hunter", 'my password is "hunter"'),
    "api key": (some(32, HEX), "api_key={}"),
    "german password": ("Geheim!2024", "Mein Passwort ist {}"),
    "french password": ("azerty99", "mon mot de passe est {}"),
    "spanish password": ("gato123", "mi contraseña es {}."),
    "pin": ("4711", "my PIN is {}"),
}
"""By name: the secret, and the text that it is in."""

HARMLESS: tuple[str, ...] = (
    "How do I change my password?",
    "Mein Passwort ist abgelaufen, was nun?",
    "The secret of our cheese is patience.",
    "J'ai oublié mon mot de passe.",
    "No tengo clave todavía.",
    "The token expires after ten minutes.",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 fixed it",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "The order id is 550e8400-e29b-41d4-a716-446655440000.",
    "See https://example.org/docs/api-keys?page=2 for more.",
    "My reference is SKU-2024-000123, order AC1234.",
    "ISBN 978-3-16-148410-0 and EAN 4006381333931",
    "The key takeaway: save early.",
    "Call the API with your key; keys are free.",
    "Pin it to the wall. Pins cost 2 euros.",
    "The PIN pad is broken.",
    "TAN lists were abolished in 2019.",
    "a Basic account and a Bearer of good news",
    "My sister wrote sk-8 on the board.",
    "Flight AZ1234 at 10:45, seat 12A",
    "The bearer bond was issued in 1999.",
    "Wi-Fi password: ask at the desk",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
    "Basic authentication and basic understanding are explained, Basic dGhpcyBpcyBub25l",
    '{"properties":{"password":{"type":"string","minLength":8},"pin":{"type":"integer"},"token":["string",null]}}',
    '{"required":["password","token"],"properties":{"secret":{"$ref":"#/$defs/a1"}}}',
    "Version 10.2.14.3, build a1b2c3d",
    "the file is named token_counter.py and has 120 lines",
    "an access key opens the side door",
    "My user name is ann, at https://ann@example.org/",
    "Security code? There is none on this card.",
    "Reset codes are sent by text message.",
    "The password must have 12 characters, one of them a digit.",
    "https://user@host:8080/path is the form of a link",
    "Das Kennwort muss mindestens acht Zeichen haben.",
    "Gitter glpat is not a word, nor is npm_install",
    "A -----BEGIN CERTIFICATE----- is public.",
    "Meet at 12:30 by gate B7:Terminal",
    "postgres://localhost:5432/shop has no password",
)
