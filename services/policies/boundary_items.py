"""Reads `languages`, `residency`, `tools` and `obligations` of a policy. Next: boundaries.py, obligations.py."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ruamel.yaml.nodes import Node, ScalarNode

from tidegate.services.policies.boundaries import LANGUAGES, OTHERS, RESIDENCES, RESIDENCY, TOOLS, Boundaries, Residence
from tidegate.services.policies.node_reader import KeyedNode, NodeReader
from tidegate.services.policies.obligations import OBLIGATIONS, Obligation
from tidegate.services.policies.rule_items import LANGUAGE, NAME

MOST_OBLIGATIONS = 16
MOST_NOTICE = 400
TOOL = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_KEYS = ("name", "notice", "when")


def read_boundaries(reader: NodeReader, fields: Mapping[str, KeyedNode]) -> Boundaries:
    """What a policy keeps answers within."""
    languages = _read_names(reader, fields.get(LANGUAGES), LANGUAGES, LANGUAGE, "en, de")
    if LANGUAGES in fields and not languages and not reader.faults:
        reader.fault(fields[LANGUAGES][0], "languages names none", "leave it out where any may be spoken")
    tools = frozenset(_read_names(reader, fields.get(TOOLS), TOOLS, TOOL, "calculator"))
    return Boundaries(frozenset(languages), _read_residency(reader, fields), tools if TOOLS in fields else None)


def _read_names(
    reader: NodeReader, listed: KeyedNode | None, key: str, form: re.Pattern[str], example: str
) -> tuple[str, ...]:
    what = "a language" if key == LANGUAGES else "a tool"
    nodes = reader.items(listed, key, example)
    found = (reader.identifier(node, what, form, f"{key}: [{example}]") for node in nodes)
    return tuple(dict.fromkeys(filter(None, found)))


def _read_residency(reader: NodeReader, fields: Mapping[str, KeyedNode]) -> dict[str, Residence]:
    """One word for all classes, or one for each class that is named."""
    if RESIDENCY not in fields:
        return {}
    at, value = fields[RESIDENCY]
    if isinstance(value, ScalarNode):
        read = _read_residence(reader, value)
        return {} if read is None else {OTHERS: read}
    listed = reader.mapping(value, RESIDENCY, at)
    if not listed and not reader.faults:
        reader.fault(at, "residency names no class", f"residency: {{{OTHERS}: site}}")
    found = {name: _read_residence(reader, node) for name, (_, node) in listed.items()}
    return {name: each for name, each in found.items() if each is not None}


def _read_residence(reader: NodeReader, node: Node) -> Residence | None:
    found = reader.text(node, RESIDENCY)
    for each in RESIDENCES:
        if found == each:
            return each
    if found:
        hint = "site keeps questions at the site that was asked, hub lets the hub be asked"
        reader.fault(node, f"{found} is nowhere that a question can stay", hint)
    return None


def read_obligations(reader: NodeReader, listed: KeyedNode | None) -> tuple[Obligation, ...]:
    """What has to be done with answers that pass."""
    nodes = reader.items(listed, OBLIGATIONS, '{name: no_advice, notice: {en: "..."}}')
    if len(nodes) > MOST_OBLIGATIONS:
        hint = f"at most {MOST_OBLIGATIONS} are read: an answer must stay readable"
        reader.fault(nodes[MOST_OBLIGATIONS], f"there are {len(nodes)} obligations", hint)
        return ()
    found: dict[str, Obligation] = {}
    for node in nodes:
        read = _read_obligation(reader, node)
        if read is not None and read.name in found:
            reader.fault(node, f"{read.name} is there already", "give each obligation a name of its own")
        elif read is not None:
            found[read.name] = read
    return tuple(found.values())


def _read_obligation(reader: NodeReader, node: Node) -> Obligation | None:
    fields = reader.mapping(node, "an obligation")
    for key, (key_node, _) in fields.items():
        if key not in _KEYS:
            reader.fault(key_node, f"{key} is not a part of an obligation", f"the parts are {', '.join(_KEYS)}")
    for key in _KEYS[:2]:
        if key not in fields:
            reader.fault(node, f"{key} is missing", '- {name: no_advice, notice: {en: "This is no advice."}}')
            return None
    name = reader.identifier(fields["name"][1], "the name of an obligation", NAME, "a-z, 0-9 and _")
    notice: dict[str, str] = {}
    for language, (key_node, value) in reader.mapping(fields["notice"][1], "notice", fields["notice"][0]).items():
        text = reader.text(value, "a notice")
        if not LANGUAGE.fullmatch(language):
            reader.fault(key_node, f"{language!r} is not a language", "notice: {en: ..., de: ...}")
        if len(text) > MOST_NOTICE:
            reader.fault(value, f"the notice has {len(text)} characters", f"at most {MOST_NOTICE}")
        notice[language] = text
    when = reader.condition(fields)
    if not notice:
        reader.fault(fields["notice"][0], "the notice is in no language", 'notice: {en: "This is no advice."}')
    is_whole = name and notice and (when is not None or "when" not in fields)
    return Obligation(name, notice, when) if is_whole else None
