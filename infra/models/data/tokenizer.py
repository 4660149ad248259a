"""Trains the tokenizer that both models share: byte-level BPE, each digit a token of its own, lossless for any text."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from tidegate.infra.models.data import extraction, generator
from tidegate.infra.models.data.domains import words
from tidegate.services.llm.text.tokenizer import CONTROLS, MARKS

SIZE = 2048


def texts(count: int) -> Iterator[str]:
    """What merges are learned from: the training generators, and plain words so that other prose is not split up."""
    r = random.Random(7)
    training = generator.Training()
    plain = words.NOUNS + words.ADJECTIVES + words.VERBS
    for _ in range(count):
        sample = training.sample(r)
        yield sample.question
        yield from (" " + passage for passage in sample.passages)
        yield " " + " ".join(r.choice(words.FUNCTION if r.random() < 0.6 else plain) for _ in range(40))
        if r.random() < 0.3:
            record = extraction.record(r, extraction.TRAINING)
            yield from (record.schema, record.text, record.json)


def train(count: int = 15000) -> Tokenizer:
    """A tokenizer with the ids of the contract; the same bytes each time."""
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=[*CONTROLS, *MARKS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(count), trainer)
    stored = json.loads(tokenizer.to_str())
    stored["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(stored))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROLS])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in MARKS])
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the tokenizer.json to write")
    out: Path = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    train().save(str(out))


if __name__ == "__main__":
    main()
