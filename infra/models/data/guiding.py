"""Where the tokens of an answer stand in the prompt, and which sentence they belong to: what attention is trained on.

Told outright where to look (Liu et al., "Neural Machine Translation with Supervised Attention", 2016), a small model
learns in minutes what it would otherwise have to stumble upon. Nothing of this is needed once it is trained.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from tidegate.infra.models import TOKENIZER
from tidegate.infra.models.data.prompts import ANSWER, BOS, EOS, MARKS, NONE, PASSAGE, QUESTION, Prompts
from tidegate.services.llm.text.prompts import SPACE

Pair = tuple[int, int]
FIRST = MARKS[-1] + 1
MOST_CITED = 2


@dataclass
class Guide:
    """Places in prompt + answer. A pair is (the place that asks, the place that it should look at).

    `sources`: the token that comes next. `sentences`: the end of the sentence that is quoted, 0 where nothing is left
    to quote. `verdicts`: the end of each sentence, and whether it answers; `firsts`: of two that answer, whether it is
    to be quoted first; `things`, `attributes`: whether it is about what was asked for. `echoes`: each token that could
    be asked for, and whether the question has it.
    """

    sources: list[Pair] = field(default_factory=list)
    sentences: list[Pair] = field(default_factory=list)
    verdicts: list[Pair] = field(default_factory=list)
    firsts: list[Pair] = field(default_factory=list)
    things: list[Pair] = field(default_factory=list)
    attributes: list[Pair] = field(default_factory=list)
    echoes: list[Pair] = field(default_factory=list)


@cache
def stops() -> tuple[frozenset[int], frozenset[int]]:
    """The tokens that may end a sentence, and those that may begin the next one."""
    tokenizer = Prompts(TOKENIZER).plain
    pieces: dict[str, int] = {piece: each for piece, each in tokenizer.get_vocab().items() if each >= FIRST}
    ends = frozenset(number for piece, number in pieces.items() if piece[-1] in ".?!")
    begins = frozenset(number for piece, number in pieces.items() if piece[0] == "Ġ" and piece[1:2].isupper())
    return ends, begins


def found(part: Sequence[int], whole: Sequence[int]) -> int:
    """Where `part` begins in `whole`, or -1."""
    for start in range(len(whole) - len(part) + 1):
        if whole[start] == part[0] and list(whole[start : start + len(part)]) == list(part):
            return start
    return -1


def citations(answer: Sequence[int]) -> list[tuple[int, list[int]]]:
    """The place of each mark in an answer, and the tokens that it quotes."""
    positions = [position for position, token in enumerate(answer) if token in MARKS]
    quoted = []
    for position, after in zip(positions, [*positions[1:], len(answer)][: len(positions)], strict=True):
        tokens = [token for token in answer[position + 1 : after] if token != EOS]
        quoted.append((position, tokens[:-1] if after < len(answer) and len(positions) <= MOST_CITED else tokens))
    return quoted


def received(prompt: Sequence[int], first: int) -> list[Pair]:
    """Each token of the passages, and whether it stands in the question."""
    asked = set(prompt[2:first])
    return [
        (position, int(prompt[position] in asked))
        for position in range(first, len(prompt))
        if prompt[position] >= FIRST
    ]


def judged(prompt: Sequence[int], spans: Sequence[Pair], quoted: Sequence[Pair]) -> list[Pair]:
    """The end of each sentence of the passages and whether it is quoted; places inside what is quoted are left out."""
    ends, begins = stops()
    right = {last for _, last in quoted}
    inside = {position for first, last in quoted for position in range(first, last)}
    positions = {last for _, last in spans} | right
    for first, last in spans:
        positions |= {p for p in range(first, last) if prompt[p] in ends and prompt[p + 1] in begins}
    return [(position, int(position in right)) for position in sorted(positions - inside)]


def question(prompt: Sequence[int], answer: Sequence[int]) -> Guide:
    """The guide to an answer that cites passages, or says that none answers."""
    openers = [position for position, token in enumerate(prompt) if token == PASSAGE]
    if prompt[:2] != [BOS, QUESTION] or not openers:
        return Guide()
    spans = [(at + 2, after - 1) for at, after in zip(openers, [*openers[1:], len(prompt) - 1], strict=True)]
    guide = Guide()
    quoted: list[Pair] = []
    cited = citations(answer)
    for position, tokens in cited:
        number = MARKS.index(answer[position])
        if not tokens or number >= len(spans):
            continue
        first, last = spans[number]
        start = found(tokens, prompt[first : last + 1])
        if start < 0:
            continue
        start += first
        at = len(prompt) + position
        guide.sources += [(at + i, start + i) for i in range(len(tokens))]
        asks = range(at - (len(cited) <= MOST_CITED), at + len(tokens))
        guide.sentences += [(ask, start + len(tokens) - 1) for ask in asks]
        quoted.append((start, start + len(tokens) - 1))
    if len(cited) <= MOST_CITED:
        if len(prompt) > 3 and prompt[2] != PASSAGE:
            guide.verdicts, guide.echoes = judged(prompt, spans, quoted), received(prompt, openers[0])
        settle(guide, len(prompt), cited, quoted)
    return guide


def settle(guide: Guide, start: int, cited: list[tuple[int, list[int]]], quoted: list[Pair]) -> None:
    """Where the answer ends, or goes on to its second quotation: what the last token of each quotation looks at."""
    if not cited:
        guide.sentences.append((start - 1, 0))
    elif len(quoted) == len(cited):
        if len(quoted) == MOST_CITED:
            guide.firsts = [(quoted[0][1], 1), (quoted[1][1], 0)]
        following = [*(last for _, last in quoted[1:]), 0]
        guide.sentences += [(start + position + len(t), to) for (position, t), to in zip(cited, following, strict=True)]


def spread(prompts: Prompts, text: str) -> tuple[list[int], list[int]]:
    """The ids of `encode_words`, and at which character each begins."""
    ids: list[int] = []
    begins: list[int] = []
    at = 0
    for part in SPACE.split(text):
        if part:
            output = prompts.plain.encode(part, add_special_tokens=False)
            ids += output.ids
            begins += [at + first for first, _ in output.offsets]
        at += len(part)
    return ids, begins


def fields(prompts: Prompts, schema: str, text: str, compact: str) -> Guide:
    """The guide to an object: a name looks at the schema, a value that stands in the text looks at where it stands."""
    guide = Guide()
    named, names = spread(prompts, schema)
    output, starts = spread(prompts, text)
    _, begins = spread(prompts, compact)
    before = 3 + len(named)
    answer = before + len(output) + 1

    def look(first: int, length: int, found: int, positions: list[int], offset: int) -> None:
        for number, left in enumerate(begins):
            if found >= 0 and first <= left < first + length:
                source = bisect.bisect_right(positions, found + left - first) - 1
                guide.sources.append((answer + number - 1, offset + source))

    at, within = 1, 0
    for field_text, (name, value) in zip(schema.split(" "), json.loads(compact).items(), strict=True):
        look(at + 1, len(name), within, names, 2)
        within += len(field_text) + 1
        written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        at += len(json.dumps(name, ensure_ascii=False)) + 1
        inner = json.loads(written) if isinstance(value, str) else written
        if not isinstance(value, bool) and value is not None:
            look(at + (written != inner), len(inner), text.find(inner), starts, before)
        at += len(written) + 1
    asked = set(named)
    guide.echoes = [(before + number, int(token in asked)) for number, token in enumerate(output)]
    return guide


def likened(
    guide: Guide, prompts: Prompts, prompt: Sequence[int], relevance: Sequence[tuple[int, str, bool, bool]]
) -> None:
    """Add what each sentence has of what is asked for, its thing or its attribute: a near miss has one of them."""
    openers = [position for position, token in enumerate(prompt) if token == PASSAGE]
    for number, sentence, is_thing, is_attribute in relevance:
        first = openers[number - 1] + 2
        last = openers[number] if number < len(openers) else len(prompt) - 1
        ids = prompts.text(" " + sentence)
        start = found(ids, prompt[first:last])
        if start >= 0:
            end = first + start + len(ids) - 1
            guide.things.append((end, int(is_thing)))
            guide.attributes.append((end, int(is_attribute)))


def answering(prompt: Sequence[int], answer: Sequence[int]) -> Guide:
    """The guide to any answer: `question`, or nothing where there are no passages."""
    if ANSWER not in prompt or (not any(token in MARKS for token in answer) and answer[0] != NONE):
        return Guide()
    return question(list(prompt), list(answer))
