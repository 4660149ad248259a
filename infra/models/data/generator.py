"""Makes the questions: passages in which everything is invented, so that answering means reading.

`Training` draws from the training domains, `heldout` from packs whose things, attributes and templates are never
trained on. Pure Python: the tests and the bench import it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from tidegate.infra.models import TOKENIZER
from tidegate.infra.models.data import extraction, facts, guiding, phrasing, prose, tables
from tidegate.infra.models.data.domains import heldout as packs
from tidegate.infra.models.data.domains import values, words
from tidegate.infra.models.data.facts import Fact, Pack
from tidegate.infra.models.data.prompts import Prompts

R = random.Random
KINDS = ("single", "multi-sentence", "two passages", "abstain", "table", "procedure")
SHARES = (0.28, 0.24, 0.14, 0.14, 0.09, 0.11)
LONGEST = 384
KEPT = frozenset(
    words.listed("what which when where does with from have that this many much long often will must should")
)


@dataclass(frozen=True)
class Sample:
    """A question with its passages; `parts` are (passage number, sentence) in the order of the answer, () for none.

    `relevance`, where it is known, says of each sentence whether it is about the thing, and the attribute, asked for:
    (passage number, sentence, thing, attribute).
    """

    kind: str
    question: str
    passages: tuple[str, ...]
    parts: tuple[tuple[int, str], ...]
    relevance: tuple[tuple[int, str, bool, bool], ...] = ()

    @property
    def answer(self) -> str:
        """The answer as text, as it is compared."""
        return " ".join(f"[{n}] {sentence}" for n, sentence in self.parts) or "<|none|>"


def words_of(text: str) -> set[str]:
    return {word.strip(".,:;?!|()").lower() for word in text.split()}


def lexical(r: R, kind: str) -> tuple[list[Fact], list[Fact]]:
    """Facts in plain words: those that answer and those that do not."""
    wanted = prose.make(r)
    others = [prose.mutated(r, wanted) if r.random() < 0.45 else prose.make(r) for _ in range(r.randint(1, 7))]
    question = prose.ask(r, wanted)
    needed = words_of(question) & {word.lower() for word in wanted.telling}
    clear = [other for other in others if needed - words_of(other.text)]
    if kind != "abstain":
        return [Fact(question, wanted.text)], [Fact("", other.text) for other in clear]
    telling = {word.lower() for word in wanted.telling}
    spare = [other for other in clear if len(telling & words_of(other.text)) <= len(telling) // 2 + 1]
    return [Fact(question, "")], [Fact("", other.text) for other in spare] or [Fact("", prose.make(r).text)]


def grouped(r: R, wanted: list[Fact], others: list[Fact]) -> list[list[Fact]]:
    """Passages of one to three sentences; a fact about what its neighbour names may then say "it"."""
    groups: list[list[Fact]] = []
    rest = list(others)
    for fact in wanted:
        mates = [rest.pop() for _ in range(min(len(rest), r.randint(0, 2)))]
        groups.append(facts.woven(r, fact, mates))
    while rest:
        first = rest.pop()
        groups.append(facts.woven(r, first, [rest.pop() for _ in range(min(len(rest), r.randint(0, 2)))]))
    return groups


def assembled(r: R, kind: str, asked: list[Fact], wanted: list[Fact], groups: list[list[Fact]]) -> Sample:
    """Shuffle the passages and say which sentence of which one answers; the first of `asked` has the question."""
    groups = groups[:9]
    r.shuffle(groups)
    passages = tuple(" ".join(fact.text for fact in group) for group in groups)
    parts = []
    for fact in wanted:
        for number, group in enumerate(groups, 1):
            parts += [(number, relevance.text) for relevance in group if relevance.key == fact.key]
    things = {fact.thing for fact in asked}
    attributes = {fact.attribute.name for fact in asked if fact.attribute}
    relevance = tuple(
        (number, fact.text, fact.thing in things, fact.attribute.name in attributes)
        for number, group in enumerate(groups, 1)
        for fact in group
        if fact.attribute and attributes
    )
    return Sample(kind, asked[0].question, passages, tuple(parts), relevance)


def single(r: R, pack: Pack, kind: str) -> Sample:
    """One fact answers; with `multi-sentence`, out of passages of several sentences."""
    if pack.lexical and r.random() < pack.lexical and kind != "procedure":
        wanted, others = lexical(r, kind)
    else:
        wanted, others = facts.drawn(r, pack, 1, procedure=kind == "procedure", absent=kind == "abstain")
    if kind == "abstain":
        groups = grouped(r, [], others) if r.random() < 0.4 else [[fact] for fact in others]
        return assembled(r, kind, wanted, [], groups)
    if kind == "multi-sentence" or (kind == "procedure" and r.random() < 0.4):
        return assembled(r, kind, wanted, wanted, grouped(r, wanted, others))
    return assembled(r, kind, wanted, wanted, [[fact] for fact in wanted + others])


def double(r: R, pack: Pack, kind: str) -> Sample:
    """A question for two things: the answer quotes two passages, in the order of the question."""
    wanted, others = facts.drawn(r, pack, 2)
    asked = [replace(wanted[0], question=phrasing.joined(r, wanted)), wanted[1]]
    groups = grouped(r, wanted, others) if r.random() < 0.35 else [[fact] for fact in wanted + others]
    return assembled(r, kind, asked, wanted, groups)


def table(r: R, pack: Pack, kind: str) -> Sample:
    """Rows of a table, one a passage; the whole row answers."""
    question, rows, chosen = tables.rows(r, pack)
    asked = replace(rows[chosen], question=question)
    return assembled(r, kind, [asked], [rows[chosen]], [[row] for row in rows])


MAKERS: dict[str, Callable[[R, Pack, str], Sample]] = {
    "single": single,
    "multi-sentence": single,
    "two passages": double,
    "abstain": single,
    "table": table,
    "procedure": single,
}


def sample(r: R, pack: Pack, kind: str | None = None) -> Sample:
    """A sample of a kind, or of any, in the shares that are trained on."""
    kind = kind or r.choices(KINDS, SHARES)[0]
    while True:
        made = MAKERS[kind](r, pack, kind)
        if len(made.parts) == len(set(made.parts)) == (0 if kind == "abstain" else 2 if kind == "two passages" else 1):
            return replace(made, question=phrasing.voiced(r, made.question))


class Training:
    """The training stream: questions, and texts to extract from."""

    def __init__(self, records: float = 0.22) -> None:
        self.packs = facts.training()
        self.records = records
        self.prompts: Prompts | None = None

    def sample(self, r: R) -> Sample:
        made = sample(r, r.choice(self.packs))
        return strange(r, made) if r.random() < 0.3 else made

    def example(self, r: R) -> tuple[list[int], list[int]]:
        """A prompt and its answer as token ids, together at most `LONGEST`."""
        prompt, answer, _ = self.guided(r)
        return prompt, answer

    def guided(self, r: R) -> tuple[list[int], list[int], guiding.Guide]:
        """`example`, and where its answer stands in its prompt."""
        self.prompts = self.prompts or Prompts(TOKENIZER)
        while True:
            if r.random() < self.records:
                record = extraction.record(r, extraction.TRAINING)
                prompt, answer = self.prompts.extraction(record.schema, record.text), self.prompts.json(record.json)
                guide = guiding.fields(self.prompts, record.schema, record.text, record.json)
            else:
                made = self.sample(r)
                prompt, answer = self.prompts.question(made.question, made.passages), self.prompts.answer(made.parts)
                guide = guiding.answering(prompt, answer)
                guiding.likened(guide, self.prompts, prompt, made.relevance)
            if len(prompt) + len(answer) <= LONGEST:
                return prompt, answer, guide


def strange(r: R, made: Sample) -> Sample:
    """The same sample with some of the question's words replaced, everywhere, by words that do not exist."""
    shared = words_of(made.question) & words_of(" ".join(made.passages))
    candidates = sorted(word for word in shared if len(word) > 3 and word.isalpha() and word not in KEPT)
    for word in r.sample(candidates, min(len(candidates), r.randint(1, 2))):
        new = values.syllables(r)
        change = phrasing.substitution(word, new)
        parts = tuple((number, change(sentence)) for number, sentence in made.parts)
        relevance = tuple(
            (number, change(sentence), thing, attribute) for number, sentence, thing, attribute in made.relevance
        )
        made = Sample(made.kind, change(made.question), tuple(map(change, made.passages)), parts, relevance)
    return made


@cache
def _heldout() -> tuple[Pack, ...]:
    return tuple(facts.pack(name, *text) for name, text in packs.PACKS.items())


def heldout(count: int, seed: int = 2026, kinds: Sequence[str] = KINDS) -> list[Sample]:
    """`count` questions of the held-out packs, the kinds in turn; the same ones for a seed."""
    r = random.Random(seed)
    return [sample(r, r.choice(_heldout()), kinds[number % len(kinds)]) for number in range(count)]


def heldout_records(count: int, seed: int = 2026) -> list[extraction.Record]:
    """`count` texts to extract from, with schema and truth; fields and phrases are never trained on."""
    r = random.Random(seed)
    return [extraction.record(r, extraction.HELD_OUT) for _ in range(count)]
