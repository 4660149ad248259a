"""The site's own words for small talk, for people in distress, for what is unsafe: the pack's, else the shipped ones.

Promises a text for every intent of the first two, and every language. Next: defaults/replies.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

import msgspec

from tidegate.brokers.process.yaml_text import load_yaml
from tidegate.schemas.pack import PackReply

FILE = "replies.yaml"
FALLBACK_LANGUAGE = "en"
_SENTENCE = re.compile(r"[^.!?。।]*\{helpline\}[^.!?。।]*[.!?。।]+\s*")


class ReplyTexts:
    """Finds what to say. `emergency` and `helpline` are the site's numbers; an empty helpline is not spoken of."""

    def __init__(self, own: Iterable[PackReply], emergency: str, helpline: str) -> None:
        self._texts = [{reply.intent: reply.texts for reply in replies} for replies in (own, shipped_replies())]
        self._emergency = emergency
        self._helpline = helpline

    def find(self, intent: str, verdict: str, language: str) -> str:
        """The pack's text for the intent, or for its verdict; else the shipped one; empty where there is neither. In
        `language`, else in English."""
        found = [texts[key] for texts in self._texts for key in (intent, verdict) if key in texts]
        if not found:
            return ""
        text = next(
            (each[spoken] for spoken in (language, FALLBACK_LANGUAGE) for each in found if spoken in each),
            next(iter(found[0].values())),
        )
        if not self._helpline:
            text = " ".join(_SENTENCE.sub(" ", text).split())
        return text.replace("{emergency}", self._emergency).replace("{helpline}", self._helpline).strip()


@cache
def shipped_replies() -> tuple[PackReply, ...]:
    """The replies that every site has."""
    text = (files("tidegate.services.packs") / "defaults" / FILE).read_text("utf-8")
    return msgspec.convert(load_yaml(text), tuple[PackReply, ...])
