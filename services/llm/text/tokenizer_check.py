"""Whether the tokenizer in a model's directory is that model's own, as far as the files beside it can say.

Promises that one of another model is refused when the directory is loaded, whatever is to run it. Next: `vocabularies`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from tidegate.services.llm.text.chat_tokenizer import ChatTokenizer
from tidegate.services.llm.text.tokenizer import TokenizerRefusedError, TokenText

HINT = "put tokenizer.json, tokenizer_config.json and the chat template of this very model beside its weights"
_ENDS = re.compile(r"eos|eo[tm]\b|eo[tm]_|</s>|end_?of|_end\b|\bend\b", re.IGNORECASE)
"""Names of control tokens that end something said, as models have them: `<|im_end|>`, `<|eot_id|>`, `<end_of_turn>`."""


def check_tokenizer(tokens: TokenText | ChatTokenizer, directory: Path) -> None:
    """Raises `TokenizerRefusedError` where the model has no rows for the tokens, where none of the tokens that are to
    end an answer ends anything in this tokenizer, and where the chat template writes markers that it does not have."""
    config = _read_json(directory / "config.json")
    config = {**config, **(config.get("text_config") or {})}
    rows, pieces = config.get("vocab_size"), tokens.size if isinstance(tokens, TokenText) else tokens.plain_size
    if isinstance(rows, int) and rows < pieces:
        _refuse(f"it has {pieces} tokens, and the model {rows}")
    if isinstance(tokens, TokenText):
        return
    stated = sorted({*_ends_in(config), *_ends_in(_read_json(directory / "generation_config.json"))})
    if stated and not any(_is_end(tokens, each) for each in stated):
        _refuse(f"the model ends an answer with token {' or '.join(map(str, stated))}, which is no such token there")
    if tokens.closing is None and (markers := tokens.find_unknown_markers()):
        _refuse(f"the chat template writes {markers[0]}, which is no token there")


def _is_end(tokens: ChatTokenizer, id: int) -> bool:
    name = tokens.control_name(id)
    return bool(name) and (id == tokens.closing or name == tokens.eos_name or _ENDS.search(name) is not None)


def _ends_in(config: Mapping[str, Any]) -> Iterator[int]:
    stated = config.get("eos_token_id")
    yield from (each for each in (stated if isinstance(stated, list) else [stated]) if isinstance(each, int))


def _refuse(reason: str) -> NoReturn:
    raise TokenizerRefusedError(f"tokenizer.json is of another model: {reason}", HINT)


def _read_json(path: Path) -> dict[str, Any]:
    """A file that may be missing, or no JSON: whoever needs it says so."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
