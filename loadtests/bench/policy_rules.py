"""The same 200 rules in CEL and in Rego, and cases for them: what the bench of policies asks both engines.

Next: policy_vs_rego.py, which measures."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from tidegate.schemas import Answer, Check, Citation, Question
from tidegate.services.policies.case import Case
from tidegate.services.policies.facts import Circumstances

RULES = 200
CLASSES, SIGNERS, LANGUAGES = 60, 12, ("en", "de", "fr", "es")
WORDS = tuple(f"word{n}" for n in range(400))


class TwinRule(NamedTuple):
    """One rule, by the same name in both languages; `rego` is the body of a rule of the set `block`."""

    name: str
    cel: str
    rego: str


def make_rules(count: int = RULES) -> tuple[TwinRule, ...]:
    """Rules of five kinds in turn: on a class, signers, a score, words of the answer, and who answered."""
    return tuple(_make_rule(n) for n in range(count))


def _make_rule(n: int) -> TwinRule:
    name, share, signer = f"rule_{n}", n % 9 / 10 + 0.05, f"site{n % SIGNERS}"
    language = LANGUAGES[n % len(LANGUAGES)]
    match n % 5:
        case 0:
            cel = f"class == 'class{n % CLASSES}' && confidence < {share}"
            rego = f'input.class == "class{n % CLASSES}"\n  input.confidence < {share}'
        case 1:
            cel = f"language == '{language}' && signers.exists(s, s == '{signer}') && confidence < {share}"
            rego = f'input.language == "{language}"\n  "{signer}" in input.signers\n  input.confidence < {share}'
        case 2:
            cel = f"'entailment' in checks && checks['entailment'] < {share / 10}"
            rego = f'input.checks["entailment"] < {share / 10}'
        case 3:
            cel = f"text.contains('{WORDS[n]} ') && !is_signed"
            rego = f'contains(input.text, "{WORDS[n]} ")\n  not input.is_signed'
        case _:
            cel = f"route == 'cloud' && stale_citations > {n % 4} && intent == 'class{n % CLASSES}'"
            rego = f'input.route == "cloud"\n  input.stale_citations > {n % 4}\n  input.intent == "class{n % CLASSES}"'
    return TwinRule(name, cel, rego)


def write_policy(rules: tuple[TwinRule, ...]) -> str:
    """The rules as a policy of ours."""
    items = "".join(f'  - {{name: {rule.name}, when: "{rule.cel}"}}\n' for rule in rules)
    return f"policy_id: bench\nblock:\n{items}"


def write_module(rules: tuple[TwinRule, ...]) -> str:
    """The rules as a module of Rego: the set of those that act."""
    bodies = "".join(f'block contains "{rule.name}" if {{\n  {rule.rego}\n}}\n' for rule in rules)
    return f"package bench\n\nimport rego.v1\n\n{bodies}"


def make_cases(count: int, seed: int) -> Iterator[Case]:
    """Answers of some 300 characters with up to four citations."""
    draw = random.Random(seed)
    for _ in range(count):
        cited = tuple(
            Citation(
                document_id=f"document{draw.randrange(50)}",
                document_version="v",
                start=0,
                end=9,
                quote="something",
                signer=draw.choice(("", f"site{draw.randrange(SIGNERS)}/01")),
                is_fresh=draw.random() < 0.8,
            )
            for _ in range(draw.randrange(5))
        )
        answer = Answer(
            text=" ".join(draw.choices(WORDS, k=40)) + " .",
            citations=cited,
            confidence=draw.random(),
            checks=(Check("grounding", True, 1.0), Check("entailment", True, draw.random())),
        )
        name = f"class{draw.randrange(CLASSES)}"
        question = Question(text="?", language=draw.choice(LANGUAGES), intent=name, intent_confidence=0.9)
        yield Case(question, answer, Circumstances("kiosk", "site1", draw.choice(("edge", "cloud"))))
