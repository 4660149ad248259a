"""Reads the items of `allow`, `transform` and `block`: rules of ours by name, with or without a condition, and rules
that a policy states itself. Next: registry.py, ours; stated.py, its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ruamel.yaml.nodes import MappingNode, Node

from tidegate.services.policies.conditions import Condition
from tidegate.services.policies.node_reader import KeyedNode, NodeReader
from tidegate.services.policies.phrases import WORD
from tidegate.services.policies.registry import PARTS, describe
from tidegate.services.policies.stated import StatedRule

STATED = {"allow": ("name", "when", "reason"), "block": ("name", "when", "phrases", "reason")}
"""The parts in which a policy may state rules of its own, and what makes one up."""
MOST_PHRASES, MOST_PHRASE = 200, 80
MOST_RULES = 500
MOST_REASON = 300
LANGUAGE = re.compile(r"[a-z]{2,3}")
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass
class RuleItems:
    """What one part of a policy lists: our rules by name, conditions of some of them, and its own rules."""

    verbs: list[str] = field(default_factory=list)
    when: dict[str, Condition] = field(default_factory=dict)
    stated: list[StatedRule] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [*self.verbs, *(rule.name for rule in self.stated)]


def read_rules(reader: NodeReader, listed: KeyedNode | None, part: str) -> RuleItems:
    """The items of a part; what is wrong with one is a fault of its line."""
    found = RuleItems()
    nodes = reader.items(listed, part, next(iter(PARTS[part])))
    if len(nodes) > MOST_RULES:
        reader.fault(nodes[MOST_RULES], f"{part} has {len(nodes)} rules", f"at most {MOST_RULES} are read")
        return found
    for node in nodes:
        if isinstance(node, MappingNode):
            _read_item(reader, node, part, found)
        elif (name := reader.text(node, f"an item of {part}")) and _is_new(reader, node, name, part, found):
            found.verbs.append(name)
    return found


def _read_item(reader: NodeReader, node: Node, part: str, found: RuleItems) -> None:
    fields = reader.mapping(node, f"an item of {part}")
    known = ("rule", "when") if "rule" in fields or part not in STATED else STATED[part]
    for key, (key_node, _) in fields.items():
        if key not in known:
            reader.fault(key_node, f"{key} is not a part of such a rule", f"the parts are {', '.join(known)}")
    if known[0] not in fields:
        missing = "rule or name" if part in STATED else "rule"
        reader.fault(node, f"{missing} is missing", f"- {{{known[0]}: ..., when: \"language == 'de'\"}}")
        return
    if "when" not in fields and "phrases" not in fields:
        reader.fault(node, "when is missing", f"write - {next(iter(PARTS[part]))}, or add a condition")
        return
    condition = reader.condition(fields)
    if known[0] == "rule":
        _, name_node = fields["rule"]
        name = reader.text(name_node, "a rule")
        if name and _is_new(reader, name_node, name, part, found) and condition is not None:
            found.verbs.append(name)
            found.when[name] = condition
    else:
        _read_stated(reader, fields, part, condition, found)


def _is_new(reader: NodeReader, node: Node, name: str, part: str, found: RuleItems) -> bool:
    if name not in PARTS[part]:
        reader.fault(node, f"{name} is nothing that a policy can {part}", f"there is {describe(part)}")
    elif name in found.names:
        reader.fault(node, f"{name} is there twice", "once is enough")
    else:
        return True
    return False


def _read_stated(
    reader: NodeReader, fields: dict[str, KeyedNode], part: str, condition: Condition | None, found: RuleItems
) -> None:
    _, name_node = fields["name"]
    phrases = _read_phrases(reader, fields)
    name = reader.identifier(name_node, "the name of a rule", NAME, "a-z, 0-9 and _, beginning with a letter")
    if name and (name in found.names or name in PARTS[part]):
        reader.fault(name_node, f"{name} is there already", "give each rule a name of its own")
        return
    reason = reader.text(fields["reason"][1], "a reason") if "reason" in fields else ""
    if len(reason) > MOST_REASON:
        reader.fault(fields["reason"][0], f"the reason has {len(reason)} characters", f"at most {MOST_REASON}")
    if name and (condition is not None or ("when" not in fields and phrases)):
        found.stated.append(StatedRule(name, condition, reason or _name_cause(part, condition), phrases))


def _name_cause(part: str, condition: Condition | None) -> str:
    if condition is None:
        return "it states one of the rule's phrases"
    return f"its condition {'holds' if part == 'block' else 'does not hold'}: {' '.join(condition.source.split())}"


def _read_phrases(reader: NodeReader, fields: dict[str, KeyedNode]) -> dict[str, tuple[str, ...]]:
    """By language; none where there is no such key."""
    if "phrases" not in fields:
        return {}
    at, value = fields["phrases"]
    found = {}
    for language, field_ in reader.mapping(value, "phrases", at).items():
        if not LANGUAGE.fullmatch(language):
            reader.fault(field_[0], f"{language!r} is not a language", "phrases: {en: [...], de: [...]}")
        found[language] = reader.names(field_, f"phrases: {language}", "a phrase", "a phrase")
    listed = [phrase for each in found.values() for phrase in each]
    unfit = [phrase for phrase in listed if len(phrase) > MOST_PHRASE or not WORD.search(phrase)]
    if unfit:
        reader.fault(at, f"{unfit[0][:MOST_PHRASE]!r} is no phrase", f"words of at most {MOST_PHRASE} characters")
    if not 0 < len(listed) <= MOST_PHRASES:
        reader.fault(at, f"there are {len(listed)} phrases", f"a rule has 1 to {MOST_PHRASES}")
    return found if not unfit else {}
