"""Policies as they are written: the YAML of the white paper, read strictly, with the line of every fault.

Next: services/policies/registry.py, what a policy can name; services/policies/evaluation.py, what it then does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tidegate.brokers.process.yaml_text import YamlError, YamlLimits, compose_yaml
from tidegate.schemas import TidegateError
from tidegate.services.policies.policy import Policy, PolicyVerb, ScoreRule
from tidegate.services.policies.registry import ALLOW, BLOCK, PARTS, THRESHOLDS, TRANSFORM, describe
from tidegate.services.policies.sources import REQUIRE_SIGNED, SOURCES, TRUSTED_SIGNERS, SourceRules
from tidegate.services.policies.version import canonical_policy, version_of
from tidegate.services.policies.writing import WRITING

NO_SUGGESTIONS = "no_suggestions"
CLASSES = (NO_SUGGESTIONS, *WRITING)
"""Keys that list intents and workloads."""
CLASS_THRESHOLDS = "class_thresholds"
KEYS = ("policy_id", *PARTS, CLASS_THRESHOLDS, *SOURCES, *CLASSES)
ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SIGNER = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
EXAMPLES = {"an intent": "an_intent, assist", "a site": "hub, site1"}
MAX_BYTES = 65_536
LIMITS = YamlLimits(depth=4, is_plain=True)
"""A policy has lists of words, and numbers; what it says is what is written there."""


class PolicyError(TidegateError, ValueError):
    """A policy cannot be put in force. `line` counts from 1; 0 is the file as a whole."""

    hint = "correct the file; `tidegate pack check` lists all of its faults"

    def __init__(self, path: Path, line: int, reason: str, hint: str = "") -> None:
        super().__init__(f"{path}{f':{line}' if line else ''}: {reason}", hint)
        self.path = path
        self.line = line
        self.fault = reason


def load_policies(paths: Iterable[Path]) -> tuple[Policy, ...]:
    """The policies in these files, all to be in force together, in the order of their files.

    Raises `PolicyError` for the first fault, where two files name the same policy, and where there is none at all.
    """
    policies: dict[str, Policy] = {}
    path = Path("policies")
    for path in paths:
        policy, faults = read_policy(path)
        if policy is None:
            raise faults[0]
        if policy.id in policies:
            raise PolicyError(path, 0, f"the policy {policy.id} is in another file too", "give each its own policy_id")
        policies[policy.id] = policy
    if not policies:
        hint = "a site answers only under a policy: add a file to policies/"
        raise PolicyError(path, 0, "no policy is in force", hint)
    return tuple(policies.values())


def load_versions(paths: Iterable[Path], epochs: Mapping[str, int]) -> tuple[Policy, ...]:
    """The policies in these files, each with the epoch of its file's stem; files may hold versions of one policy, which
    were written apart. Raises as `load_policies` does otherwise."""
    loaded = [(path, load_policies([path])[0]) for path in paths]
    versions = (replace(policy, part=path.stem, epoch=epochs.get(path.stem, 0)) for path, policy in loaded)
    return tuple(versions) or load_policies(())


def read_policy(path: Path) -> tuple[Policy | None, list[PolicyError]]:
    """The policy in one file; where it has faults, none, and all of them in the order of their lines."""
    reader = _PolicyReader(path)
    try:
        policy = reader.read(path.read_bytes())
    except OSError as error:
        reader.faults.append(PolicyError(path, 0, f"the file cannot be read: {error.strerror}"))
    except PolicyError as error:
        reader.faults.append(error)
    else:
        if not reader.faults:
            return policy, []
    return None, sorted(reader.faults, key=lambda fault: fault.line)


class _PolicyReader:
    """Reads one file and notes every fault with its line, beyond which it reads on as far as that makes sense."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.faults: list[PolicyError] = []

    def read(self, data: bytes) -> Policy:
        """The policy, to be used only when there are no faults. Raises `PolicyError` for what is no YAML."""
        fields = self._mapping(compose_policy(self._path, data), "a policy")
        for key, (node, _) in fields.items():
            if key not in KEYS:
                self._fault(node, f"{key} is not a part of a policy", f"the parts are {', '.join(KEYS)}")
        policy_id = self._policy_id(fields)
        allow, transform, block = (self._verbs(fields.get(part), part) for part in ("allow", "transform", "block"))
        thresholds = self._thresholds("abstain_thresholds", fields.get("abstain_thresholds"))
        of_classes = self._class_thresholds(fields.get(CLASS_THRESHOLDS))
        classes = {key: self._names(key, fields.get(key), "an intent") for key in CLASSES}
        sources = self._sources(fields)
        if not self.faults and not (allow or transform or block or thresholds or of_classes or sources.rule):
            self._fault(None, "the policy has no rules", f"it may {', '.join(PARTS)}")
        if self.faults:
            allow = transform = block = ()
        stated = {
            CLASS_THRESHOLDS: of_classes,
            REQUIRE_SIGNED: sources.require_signed,
            TRUSTED_SIGNERS: tuple(sources.trusted),
            **classes,
        }
        canonical = canonical_policy(policy_id, allow, transform, block, thresholds, stated)
        return Policy(
            policy_id,
            version_of(canonical),
            allow={verb: ALLOW[verb] for verb in allow},
            transform={verb: TRANSFORM[verb] for verb in transform},
            block={verb: BLOCK[verb] for verb in block},
            abstain_thresholds=_with_verbs(thresholds),
            class_thresholds={name: _with_verbs(each) for name, each in of_classes.items()},
            no_suggestions=frozenset(classes[NO_SUGGESTIONS]),
            sources=sources,
            writing={key: frozenset(classes[key]) for key in WRITING},
            canonical=canonical,
        )

    def _policy_id(self, fields: Mapping[str, tuple[Node, Node]]) -> str:
        if "policy_id" not in fields:
            self._fault(None, "policy_id is missing", "policy_id: my-policy-v1")
            return ""
        node, value = fields["policy_id"]
        found = self._text(value, "policy_id")
        if found and not ID.fullmatch(found):
            self._fault(node, f"{found!r} is not a policy_id", "lower case letters, digits, . _ -")
        return found

    def _mapping(self, node: Node, what: str, at: Node | None = None) -> dict[str, tuple[Node, Node]]:
        """Key → (its node, its value's node); a key that is there twice is a fault."""
        fields: dict[str, tuple[Node, Node]] = {}
        if not isinstance(node, MappingNode):
            self._fault(at or node, f"{what} is a mapping", "key: value")
            return fields
        for key_node, value in node.value:
            key = self._text(key_node, "a key")
            if key in fields:
                self._fault(key_node, f"{key} is there twice", "join the two")
            elif key:
                fields[key] = (key_node, value)
        return fields

    def _verbs(self, field: tuple[Node, Node] | None, part: str) -> tuple[str, ...]:
        if field is None:
            return ()
        known = PARTS[part]
        if not isinstance(field[1], SequenceNode):
            self._fault(field[0], f"{part} is a list", f"{part}: [{next(iter(known))}]")
            return ()
        names: list[str] = []
        for item in field[1].value:
            name = self._text(item, f"an item of {part}")
            if name and name not in known:
                self._fault(item, f"{name} is nothing that a policy can {part}", f"there is {describe(part)}")
            elif name in names:
                self._fault(item, f"{name} is there twice", "once is enough")
            else:
                names.append(name)
        return tuple(names)

    def _names(self, key: str, field: tuple[Node, Node] | None, what: str) -> tuple[str, ...]:
        """The names in a list: intents and workloads, or sites."""
        if field is None:
            return ()
        if not isinstance(field[1], SequenceNode):
            self._fault(field[0], f"{key} is a list", f"{key}: [{EXAMPLES[what]}]")
            return ()
        return tuple(dict.fromkeys(filter(None, (self._text(item, what) for item in field[1].value))))

    def _sources(self, fields: Mapping[str, tuple[Node, Node]]) -> SourceRules:
        """Whose documents may be cited."""
        trusted = self._names(TRUSTED_SIGNERS, fields.get(TRUSTED_SIGNERS), "a site")
        for name in trusted:
            if not SIGNER.fullmatch(name):
                self._fault(fields[TRUSTED_SIGNERS][0], f"{name} is no site", f"{TRUSTED_SIGNERS}: [hub, site1]")
        if TRUSTED_SIGNERS in fields and not trusted and not self.faults:
            self._fault(fields[TRUSTED_SIGNERS][0], f"{TRUSTED_SIGNERS} names nobody", f"{TRUSTED_SIGNERS}: [hub]")
        node, value = fields.get(REQUIRE_SIGNED, (None, None))
        is_flag = isinstance(value, ScalarNode) and str(value.tag).endswith(":bool")
        if value is not None and not is_flag:
            self._fault(node, f"{REQUIRE_SIGNED} is true or false", f"{REQUIRE_SIGNED}: true")
        require_signed = is_flag and isinstance(value, ScalarNode) and value.value.casefold() == "true"
        return SourceRules(require_signed, frozenset(trusted))

    def _thresholds(self, what: str, field: tuple[Node, Node] | None) -> dict[str, float]:
        thresholds: dict[str, float] = {}
        for name, (node, value) in self._mapping(field[1], what, field[0]).items() if field else ():
            if name in THRESHOLDS:
                thresholds[name] = self._share(value, name)
            else:
                self._fault(node, f"{name} is no score", f"there is {describe('abstain_thresholds')}")
        return thresholds

    def _class_thresholds(self, field: tuple[Node, Node] | None) -> dict[str, dict[str, float]]:
        """For intents and workloads the thresholds of each."""
        listed = self._mapping(field[1], CLASS_THRESHOLDS, field[0]) if field else {}
        return {name: self._thresholds(f"{CLASS_THRESHOLDS}: {name}", each) for name, each in listed.items()}

    def _share(self, node: Node, what: str) -> float:
        hint = f"{what} takes {THRESHOLDS[what].parameter}, such as 0.85"
        if not isinstance(node, ScalarNode) or not str(node.tag).endswith((":float", ":int")):
            self._fault(node, f"{what} is a number", hint)
            return 0.0
        try:
            number = float(node.value)
        except ValueError:
            number = -1.0  # YAML has more spellings (.inf, 0x1) than a share needs
        if not 0.0 <= number <= 1.0:
            self._fault(node, f"{what}: {node.value} is not between 0 and 1", hint)
        return number

    def _text(self, node: Node, what: str) -> str:
        """The text of a scalar; empty for anything else, which is a fault."""
        if isinstance(node, ScalarNode) and str(node.tag).endswith(":str") and node.value:
            return str(node.value)
        self._fault(node, f"{what} is a text", "put it in quotes if it is meant as one")
        return ""

    def _fault(self, node: Node | None, reason: str, hint: str) -> None:
        self.faults.append(PolicyError(self._path, node.start_mark.line + 1 if node else 1, reason, hint))


def compose_policy(path: Path, data: bytes) -> Node:
    """The root of the one YAML document in a file. Raises `PolicyError` for its first fault."""
    if len(data) > MAX_BYTES:
        raise PolicyError(path, 0, f"the file has {len(data)} bytes", f"at most {MAX_BYTES} are read")
    try:
        root = compose_yaml(data.decode(), LIMITS)
    except UnicodeDecodeError as error:
        raise PolicyError(path, data[: error.start].count(b"\n") + 1, "the file is not UTF-8") from error
    except YamlError as error:
        raise PolicyError(path, error.line, error.reason, error.hint) from error
    if root is None:
        raise PolicyError(path, 1, "the file is empty", "policy_id: my-policy-v1")
    return root


def _with_verbs(thresholds: Mapping[str, float]) -> dict[str, tuple[PolicyVerb[ScoreRule], float]]:
    return {score: (THRESHOLDS[score], least) for score, least in thresholds.items()}
