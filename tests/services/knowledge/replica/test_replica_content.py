"""A document comes back from a replica as it went in; vectors are used where they fit, and nowhere else."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.branch_index import LETTERS
from tests.support.corpus import BRANCH, FEES, Letters, document
from tests.support.paths import ROOT
from tidegate.schemas.pack import Document, version_of_document
from tidegate.schemas.sync import DocumentContent
from tidegate.services.knowledge.index.embedded import embed_document
from tidegate.services.knowledge.index.index_writer import DocumentRefusedError
from tidegate.services.knowledge.replica.authoring import contents_of
from tidegate.services.knowledge.replica.content import (
    MOST_CONTENT_BYTES,
    ContentRefusedError,
    is_without_vectors,
    name_model,
    pack_vectors,
    to_content,
    to_document,
    unpack_vectors,
)
from tidegate.services.packs.load import load_pack
from tidegate.sync.author import MOST_PAYLOAD_BYTES

MODEL = name_model(LETTERS.version)
days = st.sampled_from(["", "2026-02-01", "2027-12-31"])
numbers = st.integers(0, 10**7)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    text, valid_from, valid_until = draw(texts), draw(days), draw(days)
    is_public = draw(st.booleans())
    recognised = tuple(draw(st.lists(st.tuples(numbers, numbers), max_size=4)))
    return Document(
        id=draw(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True)),
        title=draw(st.text(st.characters(exclude_categories=["Cs"]))),
        language=draw(st.sampled_from(["en", "de", "xx"])),
        scope=draw(st.sampled_from(["site", "hub"])),
        text=text,
        version=version_of_document(text, valid_from, valid_until, recognised, is_public_contact=is_public),
        page_starts=tuple(draw(st.lists(numbers, max_size=5))),
        recognised=recognised,
        date=draw(st.sampled_from(["", "2026-01-31", "; | , -"])),
        valid_from=valid_from,
        valid_until=valid_until,
        is_public_contact=is_public,
    )


def sent(content: DocumentContent) -> DocumentContent:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(content), type=DocumentContent)


@given(documents())
def test_every_field_of_a_document_survives(written: Document) -> None:
    assert to_document(written.id, sent(to_content(written))) == written


def test_the_documents_of_a_pack_survive_with_the_versions_that_they_had() -> None:
    pack = load_pack(ROOT / "infra" / "packs" / "kiosk")
    assert len(pack.documents) > 100
    for each in pack.documents:
        assert to_document(each.id, sent(to_content(each))) == each


def test_a_document_without_more_than_a_text_takes_no_more_than_that() -> None:
    assert to_content(BRANCH[0]).meta == {"scope": BRANCH[0].scope}


def test_pages_and_what_was_recognised_stay_with_their_text() -> None:
    """Versions that were written apart are merged field by field: these characters are of one text only."""
    scanned = msgspec.structs.replace(BRANCH[0], page_starts=(0, 40), recognised=((3, 9),))
    merged = msgspec.structs.replace(to_content(scanned), text=f"{scanned.text} And more.")
    other = to_document("fees", merged)
    assert (other.page_starts, other.recognised) == ((), ())
    assert other.version == version_of_document(merged.text)


@pytest.mark.parametrize(
    "foreign",
    [
        DocumentContent(title="x", language="en", text=" \n"),
        DocumentContent(title="x", language="english", text="x"),
        DocumentContent(title="x", language="en", text="x", meta={"scope": "moon"}),
        DocumentContent(title="x", language="en", text="x", meta={"valid_from": "soon"}),
    ],
)
def test_what_cannot_be_indexed_is_refused_with_what_to_do(foreign: DocumentContent) -> None:
    with pytest.raises(ContentRefusedError) as refused:
        to_document("x", foreign)
    assert "x" in refused.value.reason
    assert refused.value.hint


@pytest.mark.parametrize(
    "layout", ["", "nonsense", "00000000;1;", f"{'9' * 8};1,2;3-4", f"2d711642;{'9' * 5000};", "2d711642;1,2;3"]
)
def test_a_layout_that_says_nothing_of_this_text_is_passed_over(layout: str) -> None:
    assert hashlib.sha256(b"x").hexdigest().startswith("2d711642")
    foreign = DocumentContent(title="x", language="en", text="x", meta={"layout": layout, "unknown": "y"})
    assert to_document("x", foreign).page_starts == ()


def test_vectors_are_those_of_the_units_in_their_order() -> None:
    contents = dict(contents_of(BRANCH, LETTERS))
    assert list(contents) == [each.id for each in BRANCH]
    for each in BRANCH:
        made = embed_document(each, LETTERS).vectors
        found = unpack_vectors(sent(contents[each.id]), MODEL)
        assert found is not None
        assert np.array_equal(found, made.astype(np.float16).astype(np.float32))
        assert contents[each.id].vectors == pack_vectors(made, MODEL)


def replaced(**fields: Any) -> DocumentContent:
    [(_, content)] = contents_of([BRANCH[0]], LETTERS)
    assert content.vectors is not None
    return msgspec.structs.replace(content, vectors=msgspec.structs.replace(content.vectors, **fields))


def of_rows(rows: object) -> DocumentContent:
    content = to_content(BRANCH[0])
    return msgspec.structs.replace(content, vectors=pack_vectors(np.asarray(rows, np.float32), MODEL))


@pytest.mark.parametrize(
    "content",
    [
        to_content(BRANCH[0]),
        replaced(model=name_model("letters-2")),
        replaced(digest="0" * 64),
        replaced(data=b""),
        replaced(dimensions=383),
        of_rows(np.zeros((3, 384))),
        of_rows(np.full((3, 384), np.nan)),
        of_rows(np.full((3, 384), np.inf)),
        of_rows(np.full((3, 384), 2.0)),
        msgspec.structs.replace(of_rows(np.zeros((1, 1)))),
    ],
)
def test_vectors_that_cannot_be_compared_are_made_anew(content: DocumentContent) -> None:
    assert unpack_vectors(replaced(), MODEL) is not None
    assert unpack_vectors(content, MODEL) is None


def test_the_name_of_a_model_changes_with_what_cuts_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.services.knowledge.replica.content.ANALYZERS", "other")
    assert name_model(LETTERS.version) != MODEL


def test_a_document_too_large_for_one_message_goes_without_its_vectors() -> None:
    lines = "\n\n".join(f"Lantern number {number} is lit at dusk." for number in range(1_500))
    large = document("large", f"# Lanterns\n\n{lines}")
    [(_, small), (_, content)] = contents_of([document("small", FEES), large], LETTERS)
    assert [is_without_vectors(each) for each in (small, content)] == [False, True]
    assert content.vectors is not None
    assert len(msgspec.msgpack.encode(content)) < MOST_CONTENT_BYTES < MOST_PAYLOAD_BYTES
    assert unpack_vectors(content, MODEL) is None
    assert to_document("large", content) == large


def test_authors_hear_of_each_document_and_of_one_that_cannot_be_written_before_any_is_made() -> None:
    heard: list[str] = []
    made = dict(contents_of(BRANCH, Letters(), lambda each: heard.append(each.id)))
    assert heard == list(made)
    with pytest.raises(DocumentRefusedError, match="empty"):
        contents_of([*BRANCH, document("blank", " ")], LETTERS)
