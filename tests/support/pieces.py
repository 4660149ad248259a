"""The tokenizer of the multilingual model as another library reads it, and texts to compare them by."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from tests.support.paths import MODELS, ROOT
from tidegate.services.knowledge.tokenizer import TOKENIZER_FILE, PieceTokenizer

MODEL_FILE = MODELS / "multilingual" / TOKENIZER_FILE
TEXTS = 2000
"""How many texts are compared, of our own in four languages: whole documents, and questions."""


@cache
def open_pieces() -> PieceTokenizer:
    return PieceTokenizer(MODEL_FILE.read_bytes())


@cache
def _open_processor() -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(MODEL_FILE))


def decode_ids(ids: Sequence[int]) -> str:
    """What ids say, control tokens left out."""
    text: str = _open_processor().decode(list(ids))
    return text


@cache
def open_peer() -> Tokenizer:
    """The same pieces, scores and table in Hugging Face's library, as the description of upstream has it."""
    model = sentencepiece_model_pb2.ModelProto.FromString(MODEL_FILE.read_bytes())
    scores = [(each.piece, each.score) for each in model.pieces]
    peer = Tokenizer(models.Unigram(scores, unk_id=model.trainer_spec.unk_id, byte_fallback=False))
    table = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
    peer.normalizer = normalizers.Sequence([table, normalizers.Replace(Regex(" {2,}"), " ")])
    peer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    return peer


def sample_texts() -> list[str]:
    """The same ones every time."""
    found = [*_written_texts()]
    return found[:: max(1, len(found) // TEXTS)]


def _written_texts() -> Iterator[str]:
    for path in sorted((ROOT / "infra" / "models" / "data" / "questions").glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            record = json.loads(line)
            yield from (record["text"], *(each["text"] for each in record["questions"]))
    for path in sorted((ROOT / "infra" / "packs").rglob("*.md")):
        yield path.read_text("utf-8")
