"""A question is looked for as the documents would put it, and found by words that no document says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.schemas.pack import Document, Pack, Synonyms
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.index import packing
from tidegate.services.knowledge.index.thesaurus import Thesaurus, save_thesaurus

GROUPS = (
    Synonyms(language="en", words=("cash machine", "hole in the wall", "atm")),
    Synonyms(language="en", words=("open", "start serving")),
    Synonyms(language="en", words=("closed", "not open")),
    Synonyms(language="de", words=("Geldautomat", "Bankomat")),
)
KNOWN = {"machin", "cash", "open", "close"}


@pytest.mark.parametrize(
    ("text", "language", "rewritten"),
    [
        ("Where is the hole in the wall?", "en", "Where is the ? cash machine"),
        ("Where is the cash machine?", "en", "Where is the cash machine?"),
        ("When do you start serving?", "en", "When do you ? open"),
        ("Why are you not open?", "en", "Why are you not open? closed"),
        ("Two ATMs and a Hole in the Wall", "en", "Two and a cash machine"),
        ("Wo ist der Bankomat?", "de", "Wo ist der ? Geldautomat"),
        ("Wo ist der Bankomat?", "fr", "Wo ist der Bankomat?"),
        ("", "en", ""),
    ],
)
def test_a_question_gets_the_documents_words(text: str, language: str, rewritten: str) -> None:
    assert Thesaurus(GROUPS).rewrite(text, language, KNOWN.intersection) == rewritten


def test_a_thesaurus_is_kept_beside_an_index_and_read_again(tmp_path: Path) -> None:
    save_thesaurus(tmp_path, GROUPS)
    again = Thesaurus.load(tmp_path)
    assert again.rewrite("the atm", "en", KNOWN.intersection) == "the cash machine"
    assert Thesaurus.load(tmp_path / "none").rewrite("the atm", "en", KNOWN.intersection) == "the atm"


def test_a_packs_thesaurus_finds_what_its_documents_say_in_other_words(tmp_path: Path) -> None:
    texts = {
        "machines": "The cash machine in the lobby pays out up to £500 a day.",
        "walls": "The walls of the meeting rooms keep every sound inside.",
    }
    documents = tuple(
        Document(id=name, title=name, language="en", scope="site", text=text, version="1" * 12)
        for name, text in texts.items()
    )
    pack = Pack(
        name="p",
        version="1",
        path="",
        documents=documents,
        intents=(),
        questions=(),
        calibration=(),
        policy_files=(),
        thesaurus=GROUPS,
    )
    embedder = Embedder.load(Path(".models"))
    index = packing.prepare_index(pack, "site", embedder, tmp_path)
    query = index.rewrite_query("What does the hole in the wall give me?", "en")
    best = index.search(query, embedder.embed(query), 1, "en")[0]
    assert (best.document_id, best.bm25 > 0) == ("machines", True)
