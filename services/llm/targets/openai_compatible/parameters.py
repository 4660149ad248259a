"""Which parameters a server accepts, learned from what it refuses; remembered for each server and model.

Promises that each refusal is learned from once, so that a request is tried again only while something new was learned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

import msgspec

REPLACEMENTS = {"max_tokens": "max_completion_tokens"}
"""What a newer server wants in place of an older name; refused too, it is left out."""
OPTIONAL = frozenset(("max_tokens", "max_completion_tokens", "temperature", "seed", "stream"))
"""Parameters of a request in words without which an answer is longer, or comes in one piece, at worst."""
_CODES = frozenset(("unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"))
_UNSUPPORTED = re.compile(
    r"unsupported|(?:not?|n['’]t) (?:longer )?(?:be )?support|unrecogni[sz]ed|not permitted|not allowed|deprecated"
    r"|(?:unknown|unexpected) (?:parameter|field|argument|keyword)|only the default|verified to stream"
    r"|temperature\W+must be",
    re.IGNORECASE,
)
_LIMITS = frozenset(("max_tokens", "max_completion_tokens"))
"""Where one of these is refused, its value may be meant: then it is not left out, or an answer would have no end."""


class AcceptedParameters:
    """What one server takes in requests of one model."""

    def __init__(self) -> None:
        self._instead: dict[str, str | None] = {}

    def adapt(self, body: Mapping[str, object]) -> dict[str, object]:
        """The request as the server is known to take it."""
        adapted: dict[str, object] = {}
        for name, value in body.items():
            known: str | None = name
            while known in self._instead:
                known = self._instead[known]
            if known is not None:
                adapted[known] = value
        return adapted

    def learn(self, sent: Mapping[str, object], refusal: str) -> None:
        """Take in why the server refused `sent`, where that is for a parameter that it can do without."""
        name = _refused_parameter(sent, refusal)
        if name is not None and name not in self._instead:
            self._instead[name] = REPLACEMENTS.get(name)

    def leave_out(self, *names: str) -> bool:
        """Send none of these from now on; whether that changes anything."""
        before = dict(self._instead)
        self._instead |= dict.fromkeys(names)
        return self._instead != before


@lru_cache(maxsize=256)
def accepted_parameters(base_url: str, model: str, path: str) -> AcceptedParameters:  # noqa: ARG001 - what it is known by
    """What is known of that server and model, for all clients of them in this process."""
    return AcceptedParameters()


def _refused_parameter(sent: Mapping[str, object], refusal: str) -> str | None:
    if "messages" not in sent and not isinstance(sent.get("prompt"), str):
        return None  # of token ids every parameter is meant; a server without it is asked in another way
    optional = OPTIONAL & sent.keys()
    code, named, message = _read_refusal(refusal)
    if named in optional - _LIMITS:
        return named
    if code not in _CODES and not _UNSUPPORTED.search(message):
        return None
    if named in sent:
        return named if named in optional else None
    at = {name: match.start() for name in optional if (match := re.search(rf"\b{name}\b", message))}
    return min(at, key=at.__getitem__, default=None)


def _read_refusal(refusal: str) -> tuple[str, str, str]:
    """Code, parameter and message: OpenAI's shape, vLLM's, or any other, which is then all message."""
    try:
        read = msgspec.json.decode(refusal)
    except msgspec.DecodeError:
        return "", "", refusal
    error = read.get("error", read) if isinstance(read, dict) else read
    if not isinstance(error, dict):
        return "", "", str(error)
    return str(error.get("code") or ""), str(error.get("param") or ""), str(error.get("message") or error)
