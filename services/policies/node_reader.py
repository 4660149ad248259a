"""Reads the nodes of a policy's YAML, and notes every fault with its line. Next: language.py, the parts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tidegate.schemas import TidegateError
from tidegate.services.policies.conditions import Condition, ConditionError, EngineMissingError, compile_condition

KeyedNode = tuple[Node, Node]
"""The node of a key, and that of its value."""


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class PolicyError(TidegateError, ValueError):
    """A policy cannot be put in force. `line` counts from 1; 0 is the file as a whole."""

    hint = "correct the file; `tidegate policy check` lists all of its faults"

    def __init__(self, path: Path, line: int, reason: str, hint: str = "") -> None:
        super().__init__(f"{path}{f':{line}' if line else ''}: {reason}", hint)
        self.path = path
        self.line = line
        self.fault = reason


class NodeReader:
    """Reads on beyond a fault as far as that makes sense; what was read is to be used only where there are none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: list[PolicyError] = []

    def fault(self, node: Node | None, reason: str, hint: str, *, below: int = 0) -> None:
        """Note a fault at a node, or so many lines below its first."""
        line = node.start_mark.line + 1 + below if node else 1
        self.faults.append(PolicyError(self.path, line, reason, hint))

    def mapping(self, node: Node, what: str, at: Node | None = None) -> dict[str, KeyedNode]:
        """Key → (its node, its value's node); a key that is there twice is a fault."""
        fields: dict[str, KeyedNode] = {}
        if not isinstance(node, MappingNode):
            self.fault(at or node, f"{what} is a mapping", "key: value")
            return fields
        for key_node, value in node.value:
            key = self.text(key_node, "a key")
            if key in fields:
                self.fault(key_node, f"{key} is there twice", "join the two")
            elif key:
                fields[key] = (key_node, value)
        return fields

    def items(self, field: KeyedNode | None, what: str, example: str) -> list[Node]:
        """The nodes of a list; none where there is no such key."""
        if field is None:
            return []
        if not isinstance(field[1], SequenceNode):
            self.fault(field[0], f"{what} is a list", f"{what}: [{example}]")
            return []
        return list(field[1].value)

    def names(self, field: KeyedNode | None, key: str, what: str, example: str) -> tuple[str, ...]:
        """The names in a list, each once."""
        return tuple(dict.fromkeys(filter(None, (self.text(item, what) for item in self.items(field, key, example)))))

    def text(self, node: Node, what: str) -> str:
        """The text of a scalar; empty for anything else, which is a fault."""
        if not (isinstance(node, ScalarNode) and str(node.tag).endswith(":str") and node.value):
            self.fault(node, f"{what} is a text", "put it in quotes if it is meant as one")
            return ""
        if _CONTROL.search(node.value):  # it would act on the terminal or the log that it is shown in
            self.fault(node, f"{what} holds a control character", "leave it out")
            return ""
        return str(node.value)

    def identifier(self, node: Node, what: str, form: re.Pattern[str], hint: str) -> str:
        """A text of a certain form; empty for anything else, which is a fault."""
        found = self.text(node, what)
        if found and not form.fullmatch(found):
            self.fault(node, f"{found!r} is not {what}", hint)
            return ""
        return found

    def flag(self, field: KeyedNode | None, key: str) -> bool:
        """True or false; false where there is no such key."""
        node, value = field or (None, None)
        is_flag = isinstance(value, ScalarNode) and str(value.tag).endswith(":bool")
        if value is not None and not is_flag:
            self.fault(node, f"{key} is true or false", f"{key}: true")
        return is_flag and isinstance(value, ScalarNode) and value.value.casefold() == "true"

    def share(self, node: Node, what: str, parameter: str) -> float:
        """A number from 0 to 1."""
        hint = f"{what} takes {parameter}, such as 0.85"
        if not isinstance(node, ScalarNode) or not str(node.tag).endswith((":float", ":int")):
            self.fault(node, f"{what} is a number", hint)
            return 0.0
        try:
            number = float(node.value)
        except ValueError:
            number = -1.0  # YAML has more spellings (.inf, 0x1) than a share needs
        if not 0.0 <= number <= 1.0:
            self.fault(node, f"{what}: {node.value} is not between 0 and 1", hint)
        return number

    def condition(self, fields: Mapping[str, KeyedNode]) -> Condition | None:
        """What stands under `when`; None where nothing does, or what is no condition, which is a fault."""
        if "when" not in fields:
            return None
        _, node = fields["when"]
        source = self.text(node, "a condition")
        if not source:
            return None
        try:
            return compile_condition(source)
        except ConditionError as error:
            style = getattr(node, "style", None)  # a block begins on the line below its mark, and keeps its lines
            below = error.line if style == "|" else int(style == ">")
            self.fault(node, error.reason, error.hint, below=below)
        except EngineMissingError as error:
            self.fault(node, error.reason, error.hint)
        return None
