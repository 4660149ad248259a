"""Finds secrets, by their own shape or by the word before them; next: names.py."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from tidegate.services.languages.words import LANGUAGES, join_patterns, load_words
from tidegate.services.privacy.dlp.finding import PersonalSpan

SHAPES = tuple(
    (literal, re.compile(shape))
    for literal, shape in (
        ("AKIA", r"\bAKIA[0-9A-Z]{16}\b"),
        ("ASIA", r"\bASIA[0-9A-Z]{16}\b"),
        ("AccountKey=", r"AccountKey=[A-Za-z0-9+/=]{40,200}"),
        ("eyJ", r"\beyJ[\w-]{8,2000}\.[\w-]{8,2000}\.[\w-]{0,2000}"),
        ("gh", r"\bgh[pousr]_[A-Za-z0-9]{30,80}\b"),
        ("github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{30,200}"),
        ("gl", r"\bgl(?:pat|rt|dt|ft|soat|cbt|ptt|agent|oas|imt)-[\w-]{20,200}"),
        ("AIza", r"\bAIza[\w-]{35}"),
        ("GOCSPX-", r"\bGOCSPX-[\w-]{20,80}"),
        ("xox", r"\bxox[abprs]-[\w-]{10,200}"),
        ("xapp-", r"\bxapp-\d-[\w-]{20,200}"),
        ("hooks.slack.com", r"https?://hooks\.slack\.com/[\w/]{20,200}"),
        ("k_", r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,200}"),
        ("SG.", r"\bSG\.[\w-]{16,32}\.[\w-]{32,64}"),
        ("-us", r"\b[0-9a-f]{32}-us\d{1,2}\b"),
        ("SK", r"\bSK[0-9a-f]{32}\b"),
        (":", r"(?<![\d:])\d{8,10}:[\w-]{35}(?![\w-])"),
        (".", r"\b[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,40}"),
        ("npm_", r"\bnpm_[A-Za-z0-9]{36}\b"),
        ("pypi-", r"\bpypi-[\w-]{50,250}"),
        ("tgk_", r"\btgk_[0-9a-z]{12}_[\w-]{43}"),
        ("sk-", r"\bsk-[\w-]{16,200}"),
        ("hf_", r"\bhf_[A-Za-z0-9]{30,60}\b"),
        ("_v1_", r"\bdo[opr]_v1_[0-9a-f]{64}\b"),
        ("shp", r"\bshp(?:at|ca|pa|ss)_[0-9a-f]{32}\b"),
        ("sq0", r"\bsq0(?:csp|atp)-[\w-]{22,60}"),
        ("PMAK-", r"\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}\b"),
        ("://", r"(?<=://)[^\s:/@]{0,64}:[^\s:/@]{3,200}(?=@)"),
        (
            "PRIVATE KEY",
            r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){0,8000}"
            r"(?:-----END [A-Z ]{0,20}KEY(?: BLOCK)?-----)?",
        ),
    )
)
"""By the literal that each must hold: keys of AWS, Azure, GitHub, GitLab, Google, Slack, Stripe, SendGrid, Mailchimp,
Twilio, Telegram, Discord, npm, PyPI, OpenAI and others, as their makers document them; passwords in links."""
WORD = re.compile(rf"(?<![^\W_])({join_patterns(lambda words: words.personal.secrets)})(?![^\W_])", re.IGNORECASE)
MARK = re.compile(r"[\"']?\s{0,3}[:=]{1,2}\s{0,3}")
"""Of JSON too, where the word stands in quotation marks."""
BASIC = re.compile(r"(?<=\b[Bb]asic )[A-Za-z0-9+/]{8,500}={0,2}(?![A-Za-z0-9+/=])")
COPULA = re.compile(
    rf"(?:\s{{1,3}}(?:{join_patterns(lambda words: words.personal.secret_links)})"
    r"\s{1,3}(?:\w{1,20}\s{1,3}){0,2})?"
    rf"\s{{0,3}}(?:{join_patterns(lambda words: words.personal.secret_copulas)})\s{{1,3}}",
    re.IGNORECASE,
)
SPACE = re.compile(
    rf"\s{{1,3}}(?:(?:{join_patterns(lambda words: words.personal.number_signs)})\.?\s{{1,3}})?", re.IGNORECASE
)
VALUE = re.compile(r"[\"'`\u201c\u201e]?(\S{3,200})")
TRAILING = ".,;:)]}\"'`\u201d\u201c"
QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u201e": "\u201c"}
SHORT_CODES = frozenset(word for language in LANGUAGES for word in load_words(language).personal.short_codes)


def find_secrets(text: str) -> Iterator[PersonalSpan]:
    """Keys of well-known shapes, private keys, JSON web tokens, and what follows a word for a password or PIN."""
    for literal, shape in SHAPES:
        if literal in text:
            for found in shape.finditer(text):
                yield PersonalSpan("SECRET", found.start(), found.end())
    for found in BASIC.finditer(text) if "asic " in text else ():
        if b":" in _decoded(found.group()):
            yield PersonalSpan("SECRET", found.start(), found.end())
    for word in WORD.finditer(text):
        span = _secret_after(text, word)
        if span:
            yield span


def _decoded(credentials: str) -> bytes:
    """A name and a password as HTTP sends them (RFC 7617); nothing where it is no base64."""
    try:
        return base64.b64decode(credentials.rstrip("=") + "=" * (-len(credentials.rstrip("=")) % 4), validate=True)
    except binascii.Error:
        return b""


def _secret_after(text: str, word: re.Match[str]) -> PersonalSpan | None:
    mark = MARK.match(text, word.end())
    copula = None if mark else COPULA.match(text, word.end())
    link = mark or copula or SPACE.match(text, word.end())
    value = VALUE.match(text, link.end()) if link else None
    is_field = mark is not None and mark.group()[0] in QUOTES
    if value is None or (is_field and value[1][0] in "{["):  # the name of a field in a schema
        return None
    start = value.start(1)
    name, quote = word[1].lower(), text[value.start()]
    is_quoted = quote in QUOTES
    # In JSON the next field may be joined to the value.
    written = value[1].partition(QUOTES[quote])[0] if is_quoted else value[1]
    end = start + len(written.rstrip(TRAILING))
    candidate = text[start:end]
    if name in SHORT_CODES or name.startswith("pin") or "code" in name:
        is_secret = candidate.isdecimal() and 3 <= len(candidate) <= 10
        is_secret = is_secret or (bool(mark) and any(letter.isdecimal() for letter in candidate))
    elif mark:
        is_secret = not candidate.isalpha() or is_quoted or _ends_line(text, value.end())
    else:
        is_secret = bool(copula and is_quoted) or _is_random(candidate, loosely=bool(copula))
    return PersonalSpan("SECRET", start, end) if is_secret and len(candidate) > 2 else None


def _ends_line(text: str, end: int) -> bool:
    return not text[end : end + 200].split("\n")[0].strip()


def _is_random(candidate: str, loosely: bool) -> bool:
    """Whether it looks random, not written: letters and digits mixed; after a copula, digits or signs will do."""
    digit = any(letter.isdecimal() for letter in candidate)
    letter = any(letter.isalpha() for letter in candidate)
    sign = any(not letter.isalnum() and letter not in "-'/," for letter in candidate)
    if loosely:
        return len(candidate) >= 4 and (digit or sign)
    return len(candidate) >= 8 and digit and letter
