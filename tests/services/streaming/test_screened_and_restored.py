"""From the text in the making to what the asker reads: screened at the policy, restored at the gateway, one result.

The two ends are of one stream, with the log of what was shown between them, so that no value is ever stored. Whatever
the cuts, at either end, what the client reads is what the whole text gives when it is screened and restored at once."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.services.privacy.personal_samples import DETECTOR
from tests.services.privacy.stream_texts import NOISE, PIECES, PLANTED, TOKEN, make_text
from tests.support.policy_files import WHITE_PAPER, policy
from tidegate.schemas import Answer, Cursor
from tidegate.services.policies.redaction import redact_pii
from tidegate.services.stages.policy.holding import hold_back
from tidegate.services.streaming.events import pending_steps, render_event, split_step
from tidegate.services.streaming.log import AnswerLog
from tidegate.services.streaming.reidentify import reidentify_text

VALUE = 'ada."the first"@example.org'
with tempfile.TemporaryDirectory() as folder:
    POLICIES = (policy(Path(folder), WHITE_PAPER),)


def value_of(token: str) -> str:
    return VALUE if token == TOKEN else token


class Client:
    """Reads the log as a client does that may go away after each event, and comes back with its cursor."""

    def __init__(self, random: Random, *, is_json: bool) -> None:
        self.shown = ""
        self._random = random
        self._cursor = Cursor()
        self._is_json = is_json

    def read(self, log: AnswerLog) -> None:
        steps = pending_steps(log, self._cursor, can_retract=False)
        while steps:
            piece, rest = split_step(steps.pop(0), self._random.randint(1, 40))
            event = render_event(piece, log.text, value_of, is_json=self._is_json)
            assert event.offset == len(self.shown)
            self.shown += event.text
            self._cursor = piece.cursor
            if self._random.random() < 0.3:
                steps = pending_steps(log, self._cursor, can_retract=False)
            else:
                steps = [rest, *steps] if rest else steps


def judged(text: str, form: str, *, is_whole: bool) -> Answer:
    """What the policy stage lets pass of an answer that has come so far."""
    written = Answer(text=text, format=form)  # type: ignore[arg-type]
    passed, _ = redact_pii(written, DETECTOR.find)
    return passed if is_whole else hold_back(written, passed, POLICIES, DETECTOR.find)


def streamed(random: Random, text: str, form: str = "text") -> str:
    """What a client has read in the end of a text that was made word by word, or JSON that was made anyhow."""
    log, client = AnswerLog("r1", "kiosk"), Client(random, is_json=form == "json")
    ends = [at for at, character in enumerate(text) if at and (form == "json" or character.isspace())]
    for end in sorted(random.sample(ends, min(len(ends), random.randint(0, 8)))):
        for line in log.commit(judged(text[:end], form, is_whole=False).text):
            log = log.with_line(line)
        client.read(log)
    for line in log.close(judged(text, form, is_whole=True).text):
        log = log.with_line(line)
    client.read(log)
    return client.shown


def reference(text: str, form: str = "text") -> str:
    passed, _ = redact_pii(Answer(text=text, format=form), DETECTOR.find)  # type: ignore[arg-type]
    return reidentify_text(passed.text, value_of, is_json=form == "json")


TEXT = st.lists(st.one_of(st.sampled_from(PIECES), st.text(alphabet=NOISE, max_size=12)), max_size=5)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(parts=TEXT, glue=st.sampled_from((" ", "\n", ". ")), seed=st.integers(0, 1 << 30))
def test_any_text_is_read_as_the_whole_gives_it(parts: list[str], glue: str, seed: int) -> None:
    text = glue.join(parts).strip()
    assert streamed(Random(seed), text) == reference(text)


def test_a_thousand_texts_are_read_as_the_whole_gives_them() -> None:
    random = Random(5)
    for _ in range(1_000):
        text = make_text(random, 2).strip()
        assert streamed(random, text) == reference(text), text


BEGUN = st.sampled_from([TOKEN, TOKEN[:9], "<", "<EMAIL_", "x" * 250 + TOKEN, "write to ", "\n", "0123456789ab>"])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(parts=st.lists(BEGUN, max_size=7), seed=st.integers(0, 1 << 30), is_json=st.booleans())
def test_a_token_that_is_cut_anywhere_is_restored_whole(parts: list[str], seed: int, is_json: bool) -> None:
    text, random = "".join(parts), Random(seed)
    log, client = AnswerLog("r1", "kiosk"), Client(random, is_json=is_json)
    for end in sorted(random.choices(range(len(text) + 1), k=6)):
        for line in log.commit(text[:end]):
            log = log.with_line(line)
        client.read(log)
        assert VALUE[:5] not in client.shown or TOKEN in text[:end]
    for line in log.close(text):
        log = log.with_line(line)
    client.read(log)
    assert client.shown == reidentify_text(text, value_of, is_json=is_json)


VALUES = st.sampled_from(
    [
        TOKEN,
        f"write to {TOKEN}",
        "plain",
        'with "marks" \\ and \u00e9',
        *(text for _, text in PLANTED),
        "4111",
        12,
        4111,
    ]
)
TREES = st.dictionaries(
    st.sampled_from(["name", "account number", "e-mail", "n", TOKEN]), st.one_of(VALUES, st.lists(VALUES, max_size=3))
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(tree=TREES, seed=st.integers(0, 1 << 30), indent=st.sampled_from([None, 1]))
def test_any_json_is_read_as_the_whole_gives_it_and_can_be_parsed(tree: object, seed: int, indent: int | None) -> None:
    text = json.dumps(tree, indent=indent, ensure_ascii=seed % 2 == 0)
    shown = streamed(Random(seed), text, "json")
    assert shown == reference(text, "json")
    json.loads(shown)


@pytest.mark.parametrize(("value", "text"), PLANTED, ids=[value for value, _ in PLANTED])
def test_a_value_that_a_json_string_is_writing_is_not_shown_by_halves(value: str, text: str) -> None:
    document = json.dumps({"about": text, "and": "more"}, ensure_ascii=False)
    written = json.dumps(value, ensure_ascii=False)[1:-1]
    for end in range(1, len(document)):
        shown = judged(document[:end], "json", is_whole=False).text
        assert written[:6] not in shown
