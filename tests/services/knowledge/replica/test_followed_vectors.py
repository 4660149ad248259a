"""Vectors that come with a document are those that an index would make; another model's are made anew."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.support.branch_index import LETTERS
from tests.support.corpus import BRANCH, Letters, document
from tests.support.paths import ROOT
from tests.support.replica_parts import NothingEmbedded, ReplicaLab
from tests.support.sync_parts import NOW
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.lazy_embedder import LazyEmbedder
from tidegate.services.knowledge.replica.authoring import contents_of
from tidegate.services.knowledge.replica.content import name_model, to_content

EVERY = {each.id: each.text for each in BRANCH}
PIANO = document("piano", "# Piano\n\nThere is a piano in the lobby.")


def test_vectors_that_were_made_elsewhere_rank_as_ones_own(tmp_path: Path) -> None:
    """They are rounded to 16 bits on their way, and so are those that an index makes: nothing is lost twice."""
    embedder = Embedder.load(ROOT / ".models")
    lab = ReplicaLab(tmp_path)
    lab.hub.author.write_all("documents", dict(contents_of(BRANCH, embedder)), NOW)
    lazy = LazyEmbedder(ROOT / ".models")
    assert lazy.version == embedder.version
    lab.open(lazy).start("documents")
    own = HybridIndex.open(tmp_path / "own", embedder)
    own.upsert(BRANCH)
    for question, language in (("What is a banker's draft?", "en"), ("Wann ist offen?", "de"), ("Foreign coins", "en")):
        found = lab.index.find(question, 8, language)
        bare = [msgspec.structs.replace(each, collection="", signer="") for each in found]
        assert bare == own.find(question, 8, language)
        assert bare
    assert lab.index.version == own.version


def test_another_embedding_model_makes_vectors_anew_until_the_author_sends_its(tmp_path: Path) -> None:
    lab = ReplicaLab(tmp_path)
    lab.write()
    lab.follower.start("documents")
    lab.index.close()
    other = Letters("letters-2")
    follower = lab.open(other)
    assert follower.start("documents").damaged == ()
    assert lab.index.status().embedder == "letters-2"
    assert lab.held() == EVERY
    assert follower.state("documents").model == name_model("letters-2")

    class Unasked(NothingEmbedded):
        version = "letters-2"

    lab.index.close()
    follower = lab.open(Unasked())
    lab.hub.author.write_all("documents", dict(contents_of([PIANO], other)), NOW)
    assert follower.follow("documents").put == 1


def test_vectors_that_came_before_the_model_did_are_taken_when_it_does(tmp_path: Path) -> None:
    """The site made its own meanwhile, which another machine makes otherwise in the last bits."""
    lab, newer = ReplicaLab(tmp_path), Letters("letters-2")
    document_id, content = next(contents_of([PIANO], newer))
    assert content.vectors is not None
    lab.hub.author.write("documents", document_id, content, NOW)
    lab.follower.start("documents")
    lab.index.close()
    lab.open(newer)  # builds the index again, by itself
    halves = lab.index.units("piano", PIANO.version)
    lab.follower.start("documents")
    assert lab.follower.follow("documents").put == 0
    assert halves is not None


def test_vectors_for_other_pieces_are_not_taken(tmp_path: Path) -> None:
    lab = ReplicaLab(tmp_path)
    [(_, foreign)] = contents_of([document("other", "# Other\n\nOne. Two. Three.")], LETTERS)
    lab.hub.author.write("documents", "piano", to_content(PIANO, foreign.vectors), NOW)
    lab.follower.start("documents")
    units = lab.index.units("piano", PIANO.version)
    assert units is not None
    assert len(units.vectors) == len(units.units) != 3
