"""What a schema says of persons becomes vault tokens, and an answer with the values put back fits the schema again."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.branch_intents import INTENTS
from tests.support.paths import MODELS
from tidegate.schemas import Asked, Message, Screened, Withheld
from tidegate.schemas.pack import Pack
from tidegate.schemas.vault_token import vault_token
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.vault import open_vault
from tidegate.services.knowledge import intent_classifier as intent
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.extraction.extraction import extract
from tidegate.services.privacy.dlp.finding import Finding
from tidegate.services.privacy.sealing import seal_request
from tidegate.services.privacy.vault import Vault
from tidegate.services.settings import Settings
from tidegate.services.stages import prefilter
from tidegate.services.stages.prefilter.schema_words import MAPS, WORDS, redact_schema
from tidegate.services.stages.prefilter.screened_text import PersonalData, redact

pytestmark = pytest.mark.anyio

PACK = Pack(
    name="p", version="1", path="", documents=(), intents=INTENTS, questions=(), calibration=(), policy_files=()
)
OPTIONS = ["Anna Kovacs", "Peter Lindqvist", "the night shift"]
SCHEMA = {
    "type": "object",
    "properties": {
        "taken_by": {"enum": OPTIONS, "description": "Who took the call: Anna Kovacs by day"},
        "title": {"type": "string", "title": "Title"},
    },
    "required": ["taken_by"],
}
CALL = "Order of 20 pallets. Taken by: Peter Lindqvist"


async def find_ann(text: str) -> list[Finding]:
    return [Finding(kind="NAME", start=m.start(), end=m.end(), value="Ann") for m in re.finditer("Ann", text)]


async def hide(text: str, found: Sequence[PersonalData]) -> str:
    return redact(text, found, [vault_token(each.kind, "0123456789ab") for each in found])[0]


strings = st.sampled_from(["Ann", "Call Ann, or Ann's deputy", "x", "", "12"])
values = st.recursive(strings | st.integers(), lambda inner: st.lists(inner, max_size=3), max_leaves=5)
keywords = st.dictionaries(st.sampled_from(sorted(WORDS)), values, max_size=3)
schemas = st.recursive(
    keywords,
    lambda inner: st.builds(
        lambda own, key, name, part: {**own, key: {name: part}},
        keywords, st.sampled_from(sorted(MAPS)), st.sampled_from(["title", "Ann", "a"]), inner,
    ),
    max_leaves=4,
)  # fmt: skip


@given(schema=schemas)
@settings(max_examples=80, deadline=None)
async def test_all_words_are_hidden_and_nothing_else_is_changed(schema: dict[str, Any]) -> None:
    written = json.dumps(schema)
    found = await redact_schema(written, find_ann, hide)
    assert json.loads(found.replace("<NAME_0123456789ab>", "Ann")) == schema
    bare = re.sub(r'"Ann": ', "", found)  # the name of a field
    assert "Ann" not in bare
    if "Ann" not in re.sub(r'"Ann": ', "", written):
        assert found == written


async def test_what_a_name_says_that_stands_twice_does_not_hide() -> None:
    found = await redact_schema('{"title": "Ann", "title": "Fields"}', find_ann, hide)
    assert json.loads(found) == {"title": "Fields"}
    assert "Ann" not in found


class Site(NamedTuple):
    """A prefilter with its vault."""

    vault: Vault
    handler: Any

    async def screen(self, text: str, schema: dict[str, Any]) -> Message:
        asked = Asked(
            text=text, schema=json.dumps(schema), workload="extract",
            rid="r1", tenant="kiosk", site="site1", asker="ann", asked_at_ms=5, deadline_at_ms=4005,
        )  # fmt: skip
        [found] = await self.handler(seal_request(self.vault, asked))
        return found  # type: ignore[no-any-return]

    def restore(self, text: str) -> str:
        owner = self.vault.digest_of_asker("kiosk", "ann", "r1")
        session = self.vault.digest_of_session("kiosk", "ann", "", "r1")
        return self.vault.detokenise(text, "kiosk", owner, "answer", session)


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    prepared = Settings(state_dir=str(tmp_path_factory.mktemp("site")), models_dir=str(MODELS))
    intent.prepare_intents(PACK, Embedder.load(Path(MODELS)), StatePaths(prepared).intent_head)
    bus: Any = None
    with closing(open_vault(prepared)) as vault:
        async with prefilter.open(prepared, bus) as handler:
            yield Site(vault, handler)


async def test_an_option_that_is_a_person_is_hidden_and_fits_the_askers_schema_in_the_answer(site: Site) -> None:
    found = await site.screen(CALL, SCHEMA)
    assert isinstance(found, Screened)
    question = found.question
    assert not re.search("Anna|Kovacs|Peter|Lindqvist", question.schema + question.text)
    assert "the night shift" in question.schema
    assert set(question.vault_tokens) >= set(re.findall(r"<NAME_\w+>", question.schema))
    answer = extract(question.text, question.schema, "en")
    restored = json.loads(site.restore(answer.text))
    assert restored["taken_by"] == "Peter Lindqvist"
    assert jsonschema_rs.is_valid(SCHEMA, restored)


async def test_an_option_that_the_text_says_in_clear_stays_in_clear(site: Site) -> None:
    schema = {"properties": {"day": {"enum": ["Wed", "Thu", "Fri"]}, "colour": {"enum": ["red", "brown"]}}}
    found = await site.screen("Deliver the brown one on Thu, please.", schema)
    assert isinstance(found, Screened)
    assert json.loads(found.question.schema) == schema


async def test_a_field_that_is_called_by_an_address_is_refused(site: Site) -> None:
    found = await site.screen(CALL, {"properties": {"anna.kovacs@example.org": {"type": "string"}}})
    assert isinstance(found, Withheld)
    assert found.reason == "unscreenable"


async def test_an_address_among_the_options_is_hidden(site: Site) -> None:
    schema = {"properties": {"to": {"enum": ["anna.kovacs@example.org", "desk@example.org"]}}}
    found = await site.screen("Please send it to: desk@example.org", schema)
    assert isinstance(found, Screened)
    assert "example.org" not in found.question.schema
    restored = json.loads(site.restore(extract(found.question.text, found.question.schema, "en").text))
    assert restored == {"to": "desk@example.org"}
