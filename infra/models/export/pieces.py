"""A tokenizer of pieces as a SentencePiece model, out of the description that Hugging Face's library reads.

The model is a quarter of the memory of the description, once opened: decision 0061."""

from __future__ import annotations

import base64
from typing import Any

from sentencepiece import sentencepiece_model_pb2

START, PAD, END, UNKNOWN = "<s>", "<pad>", "</s>", "<unk>"
CONTROLS = (START, PAD, END, "<mask>")
"""Pieces that no text is cut into, whatever it says."""


def write_model(description: dict[str, Any]) -> bytes:
    """The pieces under the ids that they have, with their scores, and the table by which a text is normalised first;
    the same bytes for the same description."""
    model = sentencepiece_model_pb2.ModelProto()
    kinds = sentencepiece_model_pb2.ModelProto.SentencePiece
    special = {UNKNOWN: kinds.UNKNOWN, **dict.fromkeys(CONTROLS, kinds.CONTROL)}
    ids = {}
    for number, (piece, score) in enumerate(description["model"]["vocab"]):
        model.pieces.add(piece=piece, score=score, type=special.get(piece, kinds.NORMAL))
        ids[piece] = number
    trained = model.trainer_spec
    trained.model_type = sentencepiece_model_pb2.TrainerSpec.UNIGRAM
    trained.vocab_size = len(model.pieces)
    trained.bos_id, trained.pad_id, trained.eos_id, trained.unk_id = (
        ids.get(piece, -1) for piece in (START, PAD, END, UNKNOWN)
    )
    normalised = model.normalizer_spec
    normalised.name = "nmt_nfkc"
    normalised.precompiled_charsmap = base64.b64decode(_charsmap(description))
    normalised.add_dummy_prefix = normalised.remove_extra_whitespaces = normalised.escape_whitespaces = True
    return bytes(model.SerializeToString(deterministic=True))


def _charsmap(description: dict[str, Any]) -> str:
    steps = description["normalizer"]["normalizers"] if description["normalizer"] else ()
    return next((str(each["precompiled_charsmap"]) for each in steps if each["type"] == "Precompiled"), "")
