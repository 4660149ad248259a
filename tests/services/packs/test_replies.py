"""What a site says to small talk and to people in distress: the pack's words, else the shipped ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.paths import KIOSK
from tests.support.small_pack import pack_at
from tidegate.schemas.pack import PackReply
from tidegate.services.languages.identity_words import LANGUAGES
from tidegate.services.languages.prose import PROSE_LANGUAGES
from tidegate.services.packs.findings import PackError
from tidegate.services.packs.load import load_pack, load_replies
from tidegate.services.packs.replies import ReplyTexts, shipped_replies

OWN = (
    PackReply(
        intent="distress", texts={"en": "Call {emergency}. Or talk at {helpline}.", "de": "Rufen Sie {emergency} an."}
    ),
    PackReply(intent="greeting", texts={"en": "Welcome!"}),
)


@pytest.mark.parametrize("language", PROSE_LANGUAGES)
def test_every_shipped_reply_is_there_in_every_language(language: str) -> None:
    texts = ReplyTexts((), "112", "116 123")
    replies = {reply.intent: texts.find(reply.intent, "smalltalk", language) for reply in shipped_replies()}
    assert len(set(replies.values())) == len(replies)
    assert not any("{" in text for text in replies.values())
    assert "112" in replies["distress"]
    assert "116 123" in replies["distress"]
    bare = ReplyTexts((), "112", "").find("distress", "distress", language)
    assert "116" not in bare
    assert "112" in bare
    assert bare.endswith((".", "!"))
    assert "  " not in bare
    assert not re.search(r"[.!?][^\W\d_]", bare)


@pytest.mark.parametrize("language", LANGUAGES)
def test_help_is_there_in_every_language_in_which_a_name_is_found(language: str) -> None:
    texts = {each: ReplyTexts((), "112", "116 123").find("self_harm", "distress", each) for each in LANGUAGES}
    assert len(set(texts.values())) == len(LANGUAGES)
    assert {"112", "116 123"} <= set(re.findall(r"11[\d ]*\d", texts[language]))
    bare = ReplyTexts((), "112", "").find("self_harm", "distress", language)
    assert "116" not in bare
    assert "112" in bare
    assert bare.endswith((".", "。", "।"))
    assert len(texts[language]) - len(bare) > len("at 116 123."), "the whole sentence is left out"


@pytest.mark.parametrize(
    ("intent", "verdict", "language", "reply"),
    [
        ("self_harm", "distress", "en", "Call 999. Or talk at 116 123."),
        ("self_harm", "distress", "de", "Rufen Sie 999 an."),
        ("greeting", "smalltalk", "en", "Welcome!"),
        ("thanks", "smalltalk", "en", "You are welcome. Is there anything else?"),
        ("greeting", "smalltalk", "de", "Guten Tag! Was möchten Sie wissen?"),
        ("praise", "smalltalk", "fr", ReplyTexts((), "", "").find("smalltalk", "smalltalk", "fr")),
        ("unsafe", "unsafe", "en", ""),
        ("self_harm", "distress", "tr", "Call 999. Or talk at 116 123."),
    ],
)
def test_the_pack_s_own_words_come_first_and_english_last(intent: str, verdict: str, language: str, reply: str) -> None:
    assert ReplyTexts(OWN, "999", "116 123").find(intent, verdict, language) == reply


def test_a_pack_s_replies_are_read_and_one_for_no_intent_is_a_fault(tmp_path: Path) -> None:
    pack = pack_at(tmp_path / "pack")
    assert load_replies(pack) == ()
    (pack / "replies.yaml").write_text("- intent: distress\n  texts:\n    en: Call now.\n")
    assert load_replies(pack) == load_pack(pack).replies == (PackReply(intent="distress", texts={"en": "Call now."}),)
    (pack / "replies.yaml").write_text("- intent: parking\n  texts:\n    en: Call now.\n")
    with pytest.raises(PackError, match="parking is for no such intent"):
        load_pack(pack)


def test_the_kiosk_helps_people_in_distress_and_answers_small_talk() -> None:
    verdicts = {intent.id: intent.verdict for intent in load_pack(KIOSK).intents}
    assert verdicts["self_harm"] == verdicts["danger"] == "distress"
    assert verdicts["greeting"] == verdicts["identity"] == "smalltalk"
