"""Any model's tokenizer and chat template, read from its Hugging Face directory.

Promises that a control token comes from the template alone: what people wrote is spelled in ordinary pieces, whatever
it says. Next: `chat_template`, `vocabularies`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from tidegate.services.llm.text.chat_template import ChatTemplate, TemplateMessage
from tidegate.services.llm.text.pieces import bytes_of_pieces, parts_of
from tidegate.services.llm.text.tokenizer import TokenizerRefusedError

_CUT = "\ufdd0"
"""A noncharacter in somebody's text where it must not be read as one token."""
_EDGE = "\ufdd1"
"""A noncharacter where somebody's text begins and ends: no control token is read across it."""
_OURS = re.compile(f"[{_CUT}{_EDGE}]")
_MARKER = re.compile(r"<\|[^|<>\s]{1,40}\|>|<(?:start|end)_of_turn>")
"""What templates write as control tokens."""
_SPECIAL_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token")
_EXCHANGE = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})


class ControlToken(NamedTuple):
    """A token of the template, and whether it swallows the space on either side of it."""

    id: int
    strips_left: bool
    strips_right: bool


class ChatTokenizer:
    """Encodes texts and chats, decodes answers. Implements `Vocabulary`."""

    def __init__(
        self,
        stored: bytes,
        config: Mapping[str, Any],
        generation: Mapping[str, Any],
        template: str | None,
    ) -> None:
        """`config` is `tokenizer_config.json`, `generation` is `generation_config.json`, with what `config.json` says
        under `config_eos_token_id`.

        Raises `TokenizerRefusedError`, `ChatTemplateError`.
        """
        self.digest: str = hashlib.sha256(stored).hexdigest()[:12]
        try:
            described: dict[str, Any] = json.loads(stored)
            added: list[dict[str, Any]] = described.get("added_tokens") or []
            pieces = bytes_of_pieces(described, _vocabulary(described))
            controls = [each for each in added if each["special"] or each["content"].strip()]
            self._plain, self._rest = _plain_tokenizers(described, [each for each in added if each not in controls])
        except Exception as error:  # the library raises no other kind
            raise TokenizerRefusedError(f"no tokenizer.json: {error}") from error
        self._controls = {each["content"]: _control(each) for each in controls}
        self._control_ids = frozenset(control.id for control in self._controls.values())
        pieces |= {int(each["id"]): each["content"].encode() for each in added if not each["special"]}
        pieces |= {int(each["id"]): b"" for each in added if each["special"]}
        self.size: int = max(pieces, default=-1) + 1
        self.plain_size: int = max((each for each in pieces if each not in self._control_ids), default=-1) + 1
        """One more than the highest id that a text may have."""
        self._bytes = pieces
        ordered = sorted(self._controls, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        special = {name: found for name in _SPECIAL_NAMES if (found := _content(config.get(name)))}
        self._template = ChatTemplate(template, special)
        self.eos_name: str = special.get("eos_token", "")
        self.closing: int | None = self._find_closing()
        """The control token that the template puts behind an answer of the assistant."""
        self.ends = self._find_ends(generation)
        self.end: int = min(self.ends, default=-1) if self.closing is None else self.closing
        if not self.ends:
            raise TokenizerRefusedError("nothing says which token ends an answer (generation_config.json)")

    @classmethod
    def load(cls, directory: Path) -> ChatTokenizer:
        """The tokenizer of a model's directory. Raises `TokenizerRefusedError`, `ChatTemplateError`."""
        try:
            stored = (directory / "tokenizer.json").read_bytes()
            config = _read_json(directory / "special_tokens_map.json") | _read_json(directory / "tokenizer_config.json")
            model = _read_json(directory / "config.json")
            generation = {"config_eos_token_id": model.get("eos_token_id")}
            generation |= _read_json(directory / "generation_config.json")
            return cls(stored, config, generation, _read_template(directory, config))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise TokenizerRefusedError(f"no tokenizer in {directory}: {error}") from error

    def encode(self, text: str) -> list[int]:
        return list(self._encode_pieces(self._guarded(text), is_first=True))

    def decode(self, ids: Sequence[int]) -> str:
        return self.bytes_of(ids).decode("utf-8", "replace")

    def bytes_of(self, ids: Sequence[int]) -> bytes:
        return b"".join(self._bytes.get(each, b"") for each in ids)

    def is_control(self, id: int) -> bool:
        """Whether it is a control token: no text is ever encoded to it."""
        return id in self._control_ids

    def control_name(self, id: int) -> str:
        """How a control token is written; empty for any other."""
        return next((name for name, control in self._controls.items() if control.id == id), "")

    def find_unknown_markers(self) -> list[str]:
        """What the template writes as a control token and is none of this tokenizer."""
        text = self._template.render(_EXCHANGE, is_open=False)
        return _MARKER.findall(self._pattern.sub("", text) if self._pattern else text)

    def encode_chat(self, messages: Sequence[TemplateMessage]) -> tuple[int, ...]:
        """The prompt for the assistant's next message, ids as the model's own library makes them of harmless texts.

        Raises `ChatTemplateError`.
        """
        return tuple(self._chat(messages, is_open=True))

    def _chat(self, messages: Sequence[TemplateMessage], *, is_open: bool) -> list[int]:
        guarded = [{**message, "content": self._edged(message["content"])} for message in messages]
        text = self._template.render(guarded, is_open=is_open)
        ids: list[int] = []
        rest, strips = text, False
        for match in self._pattern.finditer(text) if self._pattern else ():
            control = self._controls[match[0]]
            before = text[len(text) - len(rest) : match.start()]
            ids += self._between(before, is_first=not ids, left=strips, right=control.strips_left)
            ids.append(control.id)
            rest, strips = text[match.end() :], control.strips_right
        return [*ids, *self._between(rest, is_first=not ids, left=strips)]

    def _between(self, text: str, *, is_first: bool, left: bool, right: bool = False) -> Iterator[int]:
        """The ids of what stands between two control tokens, of which some swallow the space beside them."""
        text = text.lstrip() if left else text
        return self._encode_pieces(text.rstrip() if right else text, is_first=is_first)

    def _encode_pieces(self, guarded: str, *, is_first: bool) -> Iterator[int]:
        """The ids of a text; the second line of defence drops a control token that a piece would be after all."""
        for number, piece in enumerate(guarded.replace(_EDGE, "").split(_CUT)):
            if piece:
                tokenizer = self._plain if is_first and not number else self._rest
                ids = tokenizer.encode(piece, add_special_tokens=False).ids
                yield from (each for each in ids if each not in self._control_ids)

    def _guarded(self, text: str) -> str:
        """Somebody's text with a cut behind the first character of whatever reads like a control token."""
        text = _OURS.sub("", text)
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: f"{match[0][:1]}{_CUT}{match[0][1:]}", text)

    def _edged(self, text: str) -> str:
        guarded = self._guarded(text)
        inner = guarded.strip()
        if not inner:
            return guarded
        before, after = guarded[: guarded.index(inner)], guarded[guarded.index(inner) + len(inner) :]
        return f"{before}{_EDGE}{inner}{_EDGE}{after}"  # templates may trim what stands around it

    def _find_closing(self) -> int | None:
        ids = self._chat(_EXCHANGE, is_open=False)
        text_ends = [
            at for at, each in enumerate(ids) if each not in self._control_ids and self.decode((each,)).strip()
        ]
        behind = ids[text_ends[-1] + 1 :] if text_ends else []
        return next((each for each in behind if each in self._control_ids), None)

    def _find_ends(self, generation: Mapping[str, Any]) -> frozenset[int]:
        stated = [generation.get(key) for key in ("eos_token_id", "config_eos_token_id")]
        ends = {each for one in stated for each in (one if isinstance(one, list) else [one]) if isinstance(each, int)}
        ends |= {self._controls[self.eos_name].id} if self.eos_name in self._controls else set()
        return frozenset(ends if self.closing is None else ends | {self.closing})


def _plain_tokenizers(described: Mapping[str, Any], kept: Sequence[Mapping[str, Any]]) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizer without control tokens: for the beginning of a text, and for what follows a control token."""
    plain = {**described, "post_processor": None, "truncation": None, "padding": None, "added_tokens": list(kept)}
    first = Tokenizer.from_str(json.dumps(plain))
    rest: dict[str, Any] = json.loads(json.dumps(plain))
    schemes = [
        part
        for part in parts_of(rest.get("pre_tokenizer"), "pretokenizers")
        if part.get("type") == "Metaspace" and part.get("prepend_scheme") == "first"
    ]
    for part in schemes:
        part["prepend_scheme"] = "never"  # type: ignore[index]
    return first, Tokenizer.from_str(json.dumps(rest)) if schemes else first


def _control(added: Mapping[str, Any]) -> ControlToken:
    return ControlToken(int(added["id"]), bool(added.get("lstrip")), bool(added.get("rstrip")))


def _vocabulary(described: Mapping[str, Any]) -> dict[str, int]:
    vocabulary = described["model"]["vocab"]
    if isinstance(vocabulary, list):  # Unigram: pairs of a piece and its score
        return {piece: number for number, (piece, _) in enumerate(vocabulary)}
    return dict(vocabulary)


def _content(named: Any) -> str:
    found = named.get("content") if isinstance(named, dict) else named
    return found if isinstance(found, str) else ""


def _read_json(path: Path) -> dict[str, Any]:
    """A file that may be missing."""
    found = json.loads(path.read_text()) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def _read_template(directory: Path, config: Mapping[str, Any]) -> str | None:
    """`chat_template.jinja`, else what `tokenizer_config.json` or `chat_template.json` has; None for a base model."""
    if (directory / "chat_template.jinja").is_file():
        return (directory / "chat_template.jinja").read_text()
    found = config.get("chat_template") or _read_json(directory / "chat_template.json").get("chat_template")
    if isinstance(found, list):
        named = {each.get("name"): each.get("template") for each in found}
        found = named.get("default") or next(iter(named.values()), None)
    return found if isinstance(found, str) else None
