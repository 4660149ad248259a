"""Policies as they are written: the YAML of the white paper, read strictly, with the line of every fault.

Next: services/policies/registry.py, what a policy can name; services/policies/evaluation.py, what it then does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ruamel.yaml.nodes import Node

from tidegate.brokers.process.yaml_text import YamlError, YamlLimits, compose_yaml
from tidegate.services.policies.boundaries import BOUNDARIES, LANGUAGES, RESIDENCY, TOOLS, Boundaries
from tidegate.services.policies.boundary_items import read_boundaries, read_obligations
from tidegate.services.policies.condition_cost import MOST_OF_A_POLICY, reckon_cost
from tidegate.services.policies.node_reader import KeyedNode, NodeReader, PolicyError
from tidegate.services.policies.obligations import OBLIGATIONS, Obligation
from tidegate.services.policies.policy import Policy, PolicyVerb, ScoreRule
from tidegate.services.policies.registry import ALLOW, BLOCK, PARTS, THRESHOLDS, TRANSFORM, describe
from tidegate.services.policies.rule_items import STATED, RuleItems, read_rules
from tidegate.services.policies.sources import REQUIRE_SIGNED, SOURCES, TRUSTED_SIGNERS, SourceRules
from tidegate.services.policies.stated import StatedRules
from tidegate.services.policies.version import canonical_policy, version_of
from tidegate.services.policies.writing import WRITING

NO_SUGGESTIONS = "no_suggestions"
HIGH_RISK = "high_risk"
CLASSES = (NO_SUGGESTIONS, HIGH_RISK, *WRITING)
"""Keys that list intents and workloads."""
CLASS_THRESHOLDS = "class_thresholds"
LISTED = ("allow", "transform", "block")
"""Keys that list rules."""
KEYS = ("policy_id", *PARTS, CLASS_THRESHOLDS, *SOURCES, *CLASSES, *BOUNDARIES, OBLIGATIONS)
ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SIGNER = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
MAX_BYTES = 65_536
LIMITS = YamlLimits(depth=5, is_plain=True)
"""What a policy says is what is written there; its deepest are phrases of a language of a rule."""


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


class _PolicyReader(NodeReader):
    """Reads one file."""

    def read(self, data: bytes) -> Policy:
        """The policy, to be used only when there are no faults. Raises `PolicyError` for what is no YAML."""
        fields = self.mapping(compose_policy(self.path, data), "a policy")
        for key, (node, _) in fields.items():
            if key not in KEYS:
                self.fault(node, f"{key} is not a part of a policy", f"the parts are {', '.join(KEYS)}")
        policy_id = self._policy_id(fields)
        rules = {part: read_rules(self, fields.get(part), part) for part in LISTED}
        thresholds = self._thresholds("abstain_thresholds", fields.get("abstain_thresholds"))
        of_classes = self._class_thresholds(fields.get(CLASS_THRESHOLDS))
        classes = {key: self.names(fields.get(key), key, "an intent", "an_intent, assist") for key in CLASSES}
        sources = self._sources(fields)
        boundaries = read_boundaries(self, fields)
        obligations = read_obligations(self, fields.get(OBLIGATIONS))
        self._check_cost(rules.values(), obligations)
        parts = (*(each.names for each in rules.values()), thresholds, of_classes, sources.rule, classes[HIGH_RISK])
        if not self.faults and not (any(parts) or not boundaries.is_empty or obligations):
            self.fault(None, "the policy has no rules", f"it may {', '.join(PARTS)}")
        verbs = {part: tuple(rules[part].verbs) if not self.faults else () for part in LISTED}
        signed = {REQUIRE_SIGNED: sources.require_signed, TRUSTED_SIGNERS: tuple(sources.trusted)}
        new = {CLASS_THRESHOLDS: of_classes, **signed, **classes, **describe_rules(rules, boundaries, obligations)}
        canonical = canonical_policy(policy_id, verbs, thresholds, new)
        return Policy(
            policy_id,
            version_of(canonical),
            allow={verb: ALLOW[verb] for verb in verbs["allow"]},
            transform={verb: TRANSFORM[verb] for verb in verbs["transform"]},
            block={verb: BLOCK[verb] for verb in verbs["block"]},
            abstain_thresholds=_with_verbs(thresholds),
            class_thresholds={name: _with_verbs(each) for name, each in of_classes.items()},
            no_suggestions=frozenset(classes[NO_SUGGESTIONS]),
            high_risk=frozenset(classes[HIGH_RISK]),
            sources=sources,
            writing={key: frozenset(classes[key]) for key in WRITING},
            when={f"{part}/{name}": each for part in LISTED for name, each in rules[part].when.items()},
            stated={part: StatedRules.under(part, rules[part].stated) for part in STATED},
            boundaries=boundaries,
            obligations=obligations,
            canonical=canonical,
        )

    def _check_cost(self, rules: Iterable[RuleItems], obligations: Iterable[Obligation]) -> None:
        """All conditions of a policy are asked of every answer, whatever each may cost by itself."""
        asked = [each for items in rules for each in (*items.when.values(), *(rule.condition for rule in items.stated))]
        asked += [each.when for each in obligations]
        cost = sum(reckon_cost(each.source) for each in asked if each is not None)
        if cost > MOST_OF_A_POLICY:
            hint = f"at most {MOST_OF_A_POLICY}: fewer loops, and fewer looks at text, question and folded_text"
            self.fault(None, f"the conditions could take {cost} steps together", hint)

    def _policy_id(self, fields: Mapping[str, KeyedNode]) -> str:
        if "policy_id" not in fields:
            self.fault(None, "policy_id is missing", "policy_id: my-policy-v1")
            return ""
        node, value = fields["policy_id"]
        found = self.text(value, "policy_id")
        if found and not ID.fullmatch(found):
            self.fault(node, f"{found!r} is not a policy_id", "lower case letters, digits, . _ -")
        return found

    def _sources(self, fields: Mapping[str, KeyedNode]) -> SourceRules:
        """Whose documents may be cited."""
        trusted = self.names(fields.get(TRUSTED_SIGNERS), TRUSTED_SIGNERS, "a site", "hub, site1")
        for name in trusted:
            if not SIGNER.fullmatch(name):
                self.fault(fields[TRUSTED_SIGNERS][0], f"{name} is no site", f"{TRUSTED_SIGNERS}: [hub, site1]")
        if TRUSTED_SIGNERS in fields and not trusted and not self.faults:
            self.fault(fields[TRUSTED_SIGNERS][0], f"{TRUSTED_SIGNERS} names nobody", f"{TRUSTED_SIGNERS}: [hub]")
        return SourceRules(self.flag(fields.get(REQUIRE_SIGNED), REQUIRE_SIGNED), frozenset(trusted))

    def _thresholds(self, what: str, field: KeyedNode | None) -> dict[str, float]:
        thresholds: dict[str, float] = {}
        for name, (node, value) in self.mapping(field[1], what, field[0]).items() if field else ():
            if name in THRESHOLDS:
                thresholds[name] = self.share(value, name, THRESHOLDS[name].parameter)
            else:
                self.fault(node, f"{name} is no score", f"there is {describe('abstain_thresholds')}")
        return thresholds

    def _class_thresholds(self, field: KeyedNode | None) -> dict[str, dict[str, float]]:
        """For intents and workloads the thresholds of each."""
        listed = self.mapping(field[1], CLASS_THRESHOLDS, field[0]) if field else {}
        return {name: self._thresholds(f"{CLASS_THRESHOLDS}: {name}", each) for name, each in listed.items()}


def describe_rules(
    rules: Mapping[str, RuleItems], boundaries: Boundaries, obligations: Iterable[Obligation]
) -> dict[str, object]:
    """What a policy says beyond the white paper's parts, as its version is reckoned from it."""
    return {
        "when": {f"{part}/{name}": each.source for part in LISTED for name, each in rules[part].when.items()},
        "stated": {
            f"{part}/{rule.name}": {"when": rule.cases, "reason": rule.reason}
            for part in STATED
            for rule in rules[part].stated
        },
        LANGUAGES: tuple(boundaries.languages),
        RESIDENCY: dict(boundaries.residency),
        TOOLS: {"allowed": sorted(boundaries.tools)} if boundaries.tools is not None else {},
        OBLIGATIONS: {
            each.name: {"notice": dict(each.notice), "when": each.when.source if each.when else ""}
            for each in obligations
        },
    }


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
