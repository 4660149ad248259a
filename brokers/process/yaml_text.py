"""Reads YAML that a user wrote, within limits: no text of a few bytes may become millions of values, or a deep stack.

The one function through which all YAML of users is read; `config.py` is its likeness for TOML. Next:
services/packs/findings.py, services/policies/language.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import Node
from ruamel.yaml.reader import ReaderError

from tidegate.schemas import TidegateError

FORM = "see https://yaml.org for the form"


class YamlError(TidegateError, ValueError):
    """A text is no YAML, or is more than is read. `line` counts from 1; 0 where it is not known."""

    hint = FORM

    def __init__(self, line: int, reason: str, hint: str = "") -> None:
        super().__init__(reason, hint)
        self.line = line


@dataclass(frozen=True)
class YamlLimits:
    """The most that is read: characters, mappings and lists within each other, aliases, and nodes that aliases repeat.

    `is_plain`: no anchors, aliases, tags and directives at all, so that what is read is what is written.
    """

    characters: int = 8_000_000
    depth: int = 16
    aliases: int = 1_000
    repeated: int = 100_000
    is_plain: bool = False


LIMITS = YamlLimits()


def load_yaml(text: str, limits: YamlLimits = LIMITS) -> Any:
    """The value of the one document in a text, None for an empty one: YAML 1.2, in which `no` is a word, and a key that
    is given twice is a fault. Raises `YamlError`."""
    _check(text, limits)
    try:
        return _read(text)
    except YAMLError as error:
        raise _explain(text, error) from error
    except (ValueError, OverflowError) as error:  # a day that no calendar has, a number of thousands of digits
        raise YamlError(0, str(error), "put numbers and dates in quotes") from error


def compose_yaml(text: str, limits: YamlLimits = LIMITS) -> Node | None:
    """The root of the one document in a text, with the line of each node; None for an empty one. Raises `YamlError`."""
    _check(text, limits)
    try:
        root: Node | None = YAML(typ="safe", pure=True).compose(text)
    except YAMLError as error:
        raise _explain(text, error) from error
    return root


def _read(text: str) -> Any:
    """What libyaml reads, seven times as fast as the parser in Python; that one says better, and of which line, what is
    wrong with a faulty text."""
    try:
        return YAML(typ="safe").load(text)
    except YAMLError:
        YAML(typ="safe", pure=True).load(text)
        raise  # the parser in Python lets half a character pass


def _explain(text: str, error: YAMLError) -> YamlError:
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        return YamlError(mark.line + 1 if mark else 0, f"not YAML: {error.problem or error}", error.context or "")
    if isinstance(error, ReaderError):
        return YamlError(text[: error.position].count("\n") + 1, f"not YAML: {error.reason}")
    return YamlError(0, f"not YAML: {error}")


def _check(text: str, limits: YamlLimits) -> None:
    """Raises `YamlError` for what is no YAML, and for the first limit that a text exceeds."""
    if len(text) > limits.characters:
        raise YamlError(0, f"it has {len(text)} characters", f"at most {limits.characters} are read: split it")
    try:
        try:
            _Counts(limits).take_all(YAML(typ="safe").parse(text))
        except YAMLError:
            _Counts(limits).take_all(YAML(typ="safe", pure=True).parse(text))
    except YAMLError as error:
        raise _explain(text, error) from error


@dataclass
class _Counts:
    """Counts what a text would become, from its events alone: nothing is built before it is known to be small."""

    limits: YamlLimits
    documents: int = 0
    aliases: int = 0
    repeated: int = 0
    anchors: set[str] = field(default_factory=set)
    sizes: dict[str, int] = field(default_factory=dict)
    """The nodes below each anchor, its own included, with all that aliases repeat there."""
    open: list[tuple[str | None, int]] = field(default_factory=list)
    """The mappings and lists around an event: their anchors, and the nodes in them so far."""

    def take_all(self, events: Iterable[Event]) -> None:
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        if isinstance(event, DocumentStartEvent):
            self.documents += 1
            self._refuse(event, self.documents > 1, "a second document", "one file holds one document")
            is_told = bool(event.version or event.tags) and self.limits.is_plain
            self._refuse(event, is_told, "a directive is not allowed", "write the value itself")
        elif isinstance(event, NodeEvent):
            self._take_node(event)
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            anchor, size = self.open.pop()
            self._add(anchor, size + 1)

    def _take_node(self, event: NodeEvent) -> None:
        if self.limits.is_plain:
            self._refuse_unplain(event)
        if isinstance(event, AliasEvent):
            self._take_alias(event)
            return
        if event.anchor is not None:
            is_twice = event.anchor in self.anchors
            self._refuse(event, is_twice, f"the anchor {event.anchor} is there twice", "give each a name of its own")
            self.anchors.add(event.anchor)
        if isinstance(event, ScalarEvent):
            self._add(event.anchor, 1)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            self.open.append((event.anchor, 0))
            most = self.limits.depth
            hint = f"at most {most} mappings and lists lie within each other"
            self._refuse(event, len(self.open) > most, "nested too deeply", hint)

    def _take_alias(self, event: AliasEvent) -> None:
        is_inside = any(anchor == event.anchor for anchor, _ in self.open)
        self._refuse(event, is_inside, f"the alias {event.anchor} stands within itself", "write the value itself")
        size = self.sizes.get(event.anchor, 0)
        self.aliases += 1
        self.repeated += size
        most, largest = self.limits.aliases, self.limits.repeated
        self._refuse(event, self.aliases > most, "too many aliases", f"at most {most} are read")
        hint = f"aliases may repeat {largest} values at most: write out what is meant"
        self._refuse(event, self.repeated > largest, f"aliases repeat {self.repeated} values", hint)
        self._add(None, size)

    def _refuse_unplain(self, event: NodeEvent) -> None:
        has_tag = not isinstance(event, AliasEvent) and getattr(event, "tag", None) not in (None, "!")
        found = "an alias" if isinstance(event, AliasEvent) else "an anchor" if event.anchor else ""
        what = found or ("a tag" if has_tag else "")
        self._refuse(event, bool(what), f"{what} is not allowed", "write the value itself")

    def _add(self, anchor: str | None, size: int) -> None:
        if anchor is not None:
            self.sizes[anchor] = size
        if self.open:
            outer, count = self.open[-1]
            self.open[-1] = (outer, count + size)

    def _refuse(self, event: Event, is_refused: bool, reason: str, hint: str) -> None:
        if is_refused:
            raise YamlError(event.start_mark.line + 1, reason, hint)
