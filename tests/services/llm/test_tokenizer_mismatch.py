"""A tokenizer that is not the model's own is refused when the directory is loaded, whatever is to run the model."""

from __future__ import annotations

import json
import shutil
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.support import tiny_models
from tests.support.foreign_models import CHATML, FAMILIES, GEMMA, LLAMA3, save_foreign
from tidegate.infra.models.export.directory import export
from tidegate.services.llm.errors import ModelRefusedError
from tidegate.services.llm.targets.embedded import EmbeddedTarget
from tidegate.services.llm.targets.vllm.target import VllmTarget
from tidegate.services.llm.text.chat_tokenizer import ChatTokenizer
from tidegate.services.llm.text.tokenizer import TokenizerRefusedError
from tidegate.services.llm.text.tokenizer_check import HINT
from tidegate.services.llm.text.vocabularies import load_vocabulary

SHAPES = ("llama", "qwen2", "gemma3")


def with_tokenizer_of(other: str, family: str, tmp_path: Path) -> Path:
    """A directory of one family with the tokenizer of another one."""
    directory = save_foreign(tmp_path / family, family)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(save_foreign(tmp_path / other, other) / name, directory / name)
    return directory


def change(directory: Path, name: str, **fields: Any) -> None:
    path = directory / f"{name}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_model_with_its_own_tokenizer_is_taken(family: str, tmp_path: Path) -> None:
    assert isinstance(load_vocabulary(save_foreign(tmp_path, family)), ChatTokenizer)


@pytest.mark.parametrize(("family", "other"), [*permutations(SHAPES, 2)])
def test_the_tokenizer_of_another_family_is_refused(family: str, other: str, tmp_path: Path) -> None:
    with pytest.raises(TokenizerRefusedError, match="of another model") as caught:
        load_vocabulary(with_tokenizer_of(other, family, tmp_path))
    assert caught.value.hint == HINT


@pytest.mark.anyio
async def test_no_engine_and_no_export_takes_it(tmp_path: Path) -> None:
    directory = with_tokenizer_of("llama", "qwen2", tmp_path)
    with pytest.raises(TokenizerRefusedError, match="of another model"):
        export(directory, tmp_path / "out")
    with pytest.raises(TokenizerRefusedError, match="of another model"):
        await VllmTarget.open(directory)
    (directory / "model.onnx").write_bytes(b"never read")
    with pytest.raises(ModelRefusedError, match="of another model") as caught:
        EmbeddedTarget.load(directory)
    assert caught.value.hint == HINT


@pytest.mark.parametrize(
    ("family", "template", "marker"),
    [("llama", CHATML, r"<\|im_start\|>"), ("gemma3", LLAMA3, r"<\|start_header_id\|>")],
)
def test_a_template_with_markers_of_another_family_is_refused(
    family: str, template: str, marker: str, tmp_path: Path
) -> None:
    save_foreign(tmp_path, family)
    (tmp_path / "chat_template.jinja").write_text(template)
    with pytest.raises(TokenizerRefusedError, match=f"the chat template writes {marker}, which is no token"):
        load_vocabulary(tmp_path)


def test_the_template_of_gemma_on_another_tokenizer_is_refused(tmp_path: Path) -> None:
    save_foreign(tmp_path, "qwen3")
    (tmp_path / "chat_template.jinja").write_text(GEMMA)
    with pytest.raises(TokenizerRefusedError, match="writes <start_of_turn>"):
        load_vocabulary(tmp_path)


def test_tokens_that_the_model_has_no_row_for_are_refused(tmp_path: Path) -> None:
    qwen = save_foreign(tmp_path / "qwen", "qwen2")
    pieces = ChatTokenizer.load(qwen).plain_size
    change(qwen, "config", vocab_size=pieces - 1)
    with pytest.raises(TokenizerRefusedError, match=f"it has {pieces} tokens, and the model {pieces - 1}"):
        load_vocabulary(qwen)
    ours = tiny_models.save(tmp_path / "ours")
    change(ours, "config", vocab_size=100)
    with pytest.raises(TokenizerRefusedError, match="and the model 100"):
        load_vocabulary(ours)


def test_what_models_differ_in_harmlessly_is_no_mismatch(tmp_path: Path) -> None:
    """A base model's end beside a chat's; ends in one file only; an unused token without a row; a template that closes
    an answer with the end of the text; none at all."""
    save_foreign(tmp_path, "qwen2")
    endoftext = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).token_to_id("<|endoftext|>")
    change(tmp_path, "generation_config", eos_token_id=endoftext)
    change(tmp_path, "config", eos_token_id=endoftext)
    assert len(load_vocabulary(tmp_path).ends) == 2
    change(tmp_path, "config", eos_token_id=None, vocab_size=load_vocabulary(tmp_path).size - 1)
    load_vocabulary(tmp_path)
    zephyr = (
        "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    )
    (tmp_path / "chat_template.jinja").write_text(zephyr)
    load_vocabulary(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    change(tmp_path, "tokenizer_config", chat_template=None)
    load_vocabulary(tmp_path)
    (tmp_path / "generation_config.json").unlink()
    load_vocabulary(tmp_path)
