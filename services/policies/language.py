"""Policies as they are written: the YAML of the white paper, read strictly, with the line of every fault."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.tokens import (
    AliasToken,
    AnchorToken,
    BlockEndToken,
    BlockMappingStartToken,
    BlockSequenceStartToken,
    DirectiveToken,
    DocumentStartToken,
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    TagToken,
)

from tidegate.services.policies.financial_promises import speculative_financial_promises
from tidegate.services.policies.grounding import confidence, entailment, grounded_claims
from tidegate.services.policies.policy import AllowRule, BlockRule, Policy, ScoreRule, TransformRule
from tidegate.services.policies.redaction import redact_pii
from tidegate.services.policies.regulated_advice import legal_advice, medical_advice

ALLOW: Mapping[str, AllowRule] = {"grounded_claims": grounded_claims}
TRANSFORM: Mapping[str, TransformRule] = {"redact_pii": redact_pii}
BLOCK: Mapping[str, BlockRule] = {
    "speculative_financial_promises": speculative_financial_promises,
    "legal_advice": legal_advice,
    "medical_advice": medical_advice,
}
THRESHOLDS: Mapping[str, ScoreRule] = {"entailment": entailment, "confidence": confidence}
KEYS = ("policy_id", "allow", "transform", "block", "abstain_thresholds")

MAX_BYTES = 65_536
MAX_DEPTH = 4
ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
OPENING = (BlockMappingStartToken, BlockSequenceStartToken, FlowMappingStartToken, FlowSequenceStartToken)
CLOSING = (BlockEndToken, FlowMappingEndToken, FlowSequenceEndToken)
REFUSED = {
    AnchorToken: "an anchor",
    AliasToken: "an alias",
    TagToken: "a tag",
    DirectiveToken: "a directive",
}


class BadPolicy(ValueError):
    """A policy cannot be put in force. `line` counts from 1; 0 is the file as a whole."""

    def __init__(self, path: Path, line: int, reason: str, hint: str = "") -> None:
        super().__init__(f"{path}{f':{line}' if line else ''}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason
        self.hint = hint


def load_policies(paths: Iterable[Path]) -> tuple[Policy, ...]:
    """The policies in these files, all to be in force together, in the order of their files.

    Raises `BadPolicy` for the first fault, where two files name the same policy, and where there is none at all.
    """
    policies: dict[str, Policy] = {}
    path = Path("policies")
    for path in paths:
        policy = load_policy(path)
        if policy.id in policies:
            raise BadPolicy(path, 0, f"the policy {policy.id} is in another file too", "give each its own policy_id")
        policies[policy.id] = policy
    if not policies:
        raise BadPolicy(path, 0, "no policy is in force", "a site answers only under a policy: add a file to policies/")
    return tuple(policies.values())


def load_policy(path: Path) -> Policy:
    """The policy in one file. Raises `BadPolicy`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadPolicy(path, 0, f"the file cannot be read: {error.strerror}") from error
    return _Reader(path).policy(data)


class _Reader:
    """Reads one file; knows its path, so that every fault can say where it is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def policy(self, data: bytes) -> Policy:
        fields = self._mapping(self._root(data), "a policy")
        for key, (node, _) in fields.items():
            if key not in KEYS:
                raise self._bad(node, f"{key} is not a part of a policy", f"the parts are {', '.join(KEYS)}")
        if "policy_id" not in fields:
            raise BadPolicy(self.path, 1, "policy_id is missing", "policy_id: my-policy-v1")
        name = self._text(fields["policy_id"][1], "policy_id")
        if not ID.fullmatch(name):
            raise self._bad(fields["policy_id"][1], f"{name!r} is not a policy_id", "lower case letters, digits, . _ -")
        allow, transform, block = (
            self._verbs(fields.get(key), key, known)
            for key, known in (("allow", ALLOW), ("transform", TRANSFORM), ("block", BLOCK))
        )
        thresholds = self._thresholds(fields.get("abstain_thresholds"))
        if not (allow or transform or block or thresholds):
            raise BadPolicy(self.path, 1, "the policy says nothing", f"it may {', '.join(KEYS[1:])}")
        return Policy(
            name,
            version_of(name, allow, transform, block, thresholds),
            allow={verb: ALLOW[verb] for verb in allow},
            transform={verb: TRANSFORM[verb] for verb in transform},
            block={verb: BLOCK[verb] for verb in block},
            abstain_thresholds={score: (THRESHOLDS[score], least) for score, least in thresholds.items()},
        )

    def _root(self, data: bytes) -> Node:
        if len(data) > MAX_BYTES:
            raise BadPolicy(self.path, 0, f"the file has {len(data)} bytes", f"at most {MAX_BYTES} are read")
        try:
            text = data.decode()
            self._plain(text)
            root: Node | None = YAML(typ="safe", pure=True).compose(text)
        except UnicodeDecodeError as error:
            raise BadPolicy(self.path, data[: error.start].count(b"\n") + 1, "the file is not UTF-8") from error
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise BadPolicy(self.path, mark.line + 1 if mark else 0, f"not YAML: {error.problem}") from error
        except ReaderError as error:
            raise BadPolicy(self.path, text[: error.position].count("\n") + 1, f"not YAML: {error.reason}") from error
        except YAMLError as error:
            raise BadPolicy(self.path, 0, f"not YAML: {error}") from error
        if root is None:
            raise BadPolicy(self.path, 1, "the file is empty", "policy_id: my-policy-v1")
        return root

    def _plain(self, text: str) -> None:
        """Refuse what makes a short text long, deep or something else than it looks."""
        depth = documents = 0
        for token in YAML(typ="safe", pure=True).scan(text):
            line = token.start_mark.line + 1
            for kind, name in REFUSED.items():
                if isinstance(token, kind):
                    raise BadPolicy(self.path, line, f"{name} is not allowed", "write the value itself")
            depth += isinstance(token, OPENING) - isinstance(token, CLOSING)
            documents += isinstance(token, DocumentStartToken)
            if depth > MAX_DEPTH:
                raise BadPolicy(self.path, line, "nested too deeply", "a policy has lists of words, and numbers")
            if documents > 1:
                raise BadPolicy(self.path, line, "a second document", "one policy is one file")

    def _mapping(self, node: Node, what: str, at: Node | None = None) -> dict[str, tuple[Node, Node]]:
        """Key → (its node, its value's node); refuses a key that is there twice."""
        if not isinstance(node, MappingNode):
            raise self._bad(at or node, f"{what} is a mapping", "key: value")
        fields: dict[str, tuple[Node, Node]] = {}
        for key_node, value in node.value:
            key = self._text(key_node, "a key")
            if key in fields:
                raise self._bad(key_node, f"{key} is there twice", "join the two")
            fields[key] = (key_node, value)
        return fields

    def _verbs(self, field: tuple[Node, Node] | None, key: str, known: Mapping[str, Any]) -> tuple[str, ...]:
        if field is None:
            return ()
        if not isinstance(field[1], SequenceNode):
            raise self._bad(field[0], f"{key} is a list", f"{key}: [{next(iter(known))}]")
        names: list[str] = []
        for item in field[1].value:
            name = self._text(item, f"an item of {key}")
            if name not in known:
                raise self._bad(item, f"{name} is nothing that a policy can {key}", f"there is {', '.join(known)}")
            if name in names:
                raise self._bad(item, f"{name} is there twice", "once is enough")
            names.append(name)
        return tuple(names)

    def _thresholds(self, field: tuple[Node, Node] | None) -> dict[str, float]:
        thresholds: dict[str, float] = {}
        for name, (node, value) in self._mapping(field[1], "abstain_thresholds", field[0]).items() if field else ():
            if name not in THRESHOLDS:
                raise self._bad(node, f"{name} is no score", f"there is {', '.join(THRESHOLDS)}")
            thresholds[name] = self._share(value, name)
        return thresholds

    def _share(self, node: Node, what: str) -> float:
        if not isinstance(node, ScalarNode) or not str(node.tag).endswith((":float", ":int")):
            raise self._bad(node, f"{what} is a number", "0.85")
        try:
            number = float(node.value)
        except ValueError:
            number = -1.0  # YAML has more spellings (.inf, 0x1) than a share needs
        if not 0.0 <= number <= 1.0:
            raise self._bad(node, f"{what}: {node.value} is not between 0 and 1", "0.85")
        return number

    def _text(self, node: Node, what: str) -> str:
        if not isinstance(node, ScalarNode) or not str(node.tag).endswith(":str"):
            raise self._bad(node, f"{what} is a text", "put it in quotes if it is meant as one")
        return str(node.value)

    def _bad(self, node: Node, reason: str, hint: str = "") -> BadPolicy:
        return BadPolicy(self.path, node.start_mark.line + 1, reason, hint)


def version_of(
    id: str, allow: tuple[str, ...], transform: tuple[str, ...], block: tuple[str, ...], thresholds: Mapping[str, float]
) -> str:
    """The first 12 hex digits of the sha256 of the policy's canonical JSON: sorted keys, no white space, all keys."""
    policy = {
        "policy_id": id,
        "allow": allow,
        "transform": transform,
        "block": block,
        "abstain_thresholds": thresholds,
    }
    canonical = json.dumps(policy, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
