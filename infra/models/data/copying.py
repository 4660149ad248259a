"""Copy tasks in the shape of the real prompts, over random tokens: what makes a small model learn to copy at all.

Induction forms on these, suddenly, and does not form on questions alone in the time two cores have.
"""

from __future__ import annotations

import random

BOS, EOS, QUESTION, PASSAGE, ANSWER, NONE = 1, 2, 3, 4, 5, 6
MARKS = range(10, 19)
FIRST = 19

Example = tuple[list[int], list[int]]


def tokens(r: random.Random, count: int, vocabulary: int) -> list[int]:
    """Random tokens; from a small alphabet a third of the time, so that one token's neighbour decides nothing."""
    if r.random() < 0.35:
        alphabet = [r.randrange(FIRST, vocabulary) for _ in range(r.randint(6, 14))]
        return [r.choice(alphabet) for _ in range(count)]
    return [r.randrange(FIRST, vocabulary) for _ in range(count)]


def mutated(r: random.Random, segment: list[int], vocabulary: int) -> list[int]:
    """A near miss: the same segment with one to four tokens changed."""
    copy = list(segment)
    for _ in range(r.randint(1, 4)):
        copy[r.randrange(len(copy))] = r.randrange(FIRST, vocabulary)
    return copy


def repeat(r: random.Random, vocabulary: int) -> Example:
    """The plainest: a sequence, then the same sequence."""
    body = tokens(r, r.randint(8, 50), vocabulary)
    return [BOS, *body, ANSWER], [*body, EOS]


def marked(r: random.Random, vocabulary: int, hard: float) -> Example:
    """Numbered segments and a question made of some of one segment's tokens: its mark, then the segment.

    `hard` is the share of segments that are near misses of another one. One in twelve questions fits no segment.
    """
    segments: list[list[int]] = []
    for _ in range(r.randint(1, 7)):
        if segments and r.random() < hard:
            segments.append(mutated(r, r.choice(segments), vocabulary))
        else:
            segments.append(tokens(r, r.randint(5, 18), vocabulary))
    chosen = r.randrange(len(segments))
    others = {token for number, segment in enumerate(segments) if number != chosen for token in segment}
    telling = [token for token in segments[chosen] if token not in others]
    if not telling:
        return repeat(r, vocabulary)
    question = r.sample(telling, min(len(telling), r.randint(1, 3)))
    question += r.sample(segments[chosen], min(len(segments[chosen]), r.randint(0, 4)))
    r.shuffle(question)
    answer = [MARKS[chosen], *segments[chosen], EOS]
    if r.random() < 0.08:
        segments[chosen] = tokens(r, r.randint(5, 18), vocabulary)
        answer = [NONE, EOS]
    prompt = [BOS, QUESTION, *question]
    for number, segment in enumerate(segments):
        prompt += [PASSAGE, MARKS[number], *segment]
    return [*prompt, ANSWER], answer


def periodic(r: random.Random, vocabulary: int) -> Example:
    """A short sequence over and over: nearly every token is one to copy, which is what forms induction first."""
    body = tokens(r, r.randint(6, 24), vocabulary)
    return [BOS, *body], (body * 9)[: r.randint(60, 72)]


def recited(r: random.Random, vocabulary: int, hard: float) -> Example:
    """Numbered segments, then marks in any order, each followed by its segment."""
    segments: list[list[int]] = []
    for _ in range(r.randint(3, 6)):
        near = segments and r.random() < hard
        segments.append(mutated(r, r.choice(segments), vocabulary) if near else tokens(r, r.randint(4, 14), vocabulary))
    prompt = [BOS, QUESTION]
    for number, segment in enumerate(segments):
        prompt += [PASSAGE, MARKS[number], *segment]
    answer: list[int] = []
    for number in r.sample(range(len(segments)), len(segments)):
        answer += [MARKS[number], *segments[number]]
    return [*prompt, ANSWER], [*answer, EOS]


def example(r: random.Random, vocabulary: int, hard: float) -> Example:
    """A prompt and its answer, as token ids: the plain forms first, near misses as `hard` grows."""
    chance = r.random()
    if chance < 0.4 - hard / 2:
        return periodic(r, vocabulary)
    return recited(r, vocabulary, hard) if chance < 0.8 - hard else marked(r, vocabulary, hard)
