"""What must hold across the files of a pack, beyond that each can be read. Next: correctness.py, findings.py."""

from __future__ import annotations

import re
from collections.abc import Set
from pathlib import Path
from typing import get_args

from tidegate.schemas import Workload
from tidegate.schemas.pack import LabelledQuestion, Pack, is_held
from tidegate.services.knowledge.index.markdown import find_blocks
from tidegate.services.languages.risk_words import RISK_CLASSES
from tidegate.services.packs.correctness import states
from tidegate.services.packs.findings import PackFindings
from tidegate.services.packs.replies import shipped_replies
from tidegate.services.policies.boundaries import OTHERS
from tidegate.services.policies.language import read_policy
from tidegate.services.policies.policy import Policy

FEWEST_UTTERANCES = 8
SPOKEN = ("smalltalk", "distress")
"""The verdicts that lead to a reply."""
ANSWERED = ("answerable", "paraphrased", "language", "personal", "hub")


def normalise_wording(text: str) -> str:
    """What makes two questions the same one: their words, without case and punctuation."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def list_classes(policy: Policy) -> dict[str, Set[str]]:
    """The intents and workloads that a policy names, by the key under which it does."""
    return {
        "no_suggestions": policy.no_suggestions,
        "high_risk": policy.high_risk,
        **policy.writing,
        "class_thresholds": policy.class_thresholds.keys() - RISK_CLASSES,
        "residency": policy.boundaries.residency.keys() - {OTHERS},
    }


class PackRules:
    """Holds a pack against the rules, and notes what it finds."""

    def __init__(self, pack: Pack, languages: tuple[str, ...], findings: PackFindings) -> None:
        self._pack = pack
        self._languages = languages
        self._languages_hint = f"prefilter.languages in site.toml has {', '.join(languages)}"
        self._findings = findings
        self._documents = {document.id: document for document in pack.documents}

    def apply(self) -> None:
        """Every rule."""
        self._check_documents()
        if not self._pack.policy_files:
            self._findings.fault(
                "policies", "there is no policy", "a site answers only under one: add policies/<name>.yaml"
            )
        self._check_intents()
        self._check_replies()
        for question in self._pack.questions:
            self._check_language(question)
            self._check_labels(question)
            self._check_facts(question)
            self._check_personal(question)
        if not (self._pack.questions or self._findings.has_faults("questions.yaml")):
            self._findings.warn(
                "questions.yaml", "there are no questions", "add some, to see how well the pack answers"
            )
        self._check_calibration()
        self._check_unique()
        self._check_leaks()
        self._check_policies()

    def _check_policies(self) -> None:
        """The form of every policy file; each is a policy of its own."""
        files: dict[str, str] = {}
        for path in map(Path, self._pack.policy_files):
            name = path.relative_to(self._pack.path).as_posix()
            policy, faults = read_policy(path)
            for fault in faults:
                self._findings.fault(name, fault.fault, fault.hint, line=fault.line)
            classes = {*get_args(Workload), *(intent.id for intent in self._pack.intents)}
            listed = {} if policy is None else list_classes(policy)
            for key, unknown in sorted((key, each) for key, named in listed.items() for each in named - classes):
                hint = f"{key} names intents of intents.yaml, or assist, classify, extract"
                self._findings.fault(name, f"{unknown} is no intent and no workload", hint)
            if policy is not None and files.setdefault(policy.id, name) != name:
                self._findings.fault(
                    name, f"the policy {policy.id} is in {files[policy.id]} too", "give each its own id"
                )

    def _check_documents(self) -> None:
        if not self._pack.documents:
            self._findings.fault("documents", "there are no documents", "add documents/<topic>.md, in Markdown")
        elif not (self._findings.documents_unread or any(is_held(each.scope, "site") for each in self._pack.documents)):
            hint = "a site answers from documents of scope shared or site: give it at least one"
            self._findings.fault("documents", "all documents are of scope hub", hint)
        for document in self._pack.documents:
            file = self._findings.file_of_document[document.id]
            if document.language not in self._languages:
                reason = f"{document.language} is not a language of this site"
                self._findings.fault(file, reason, self._languages_hint, line=1)
            elif document.text.strip() and not any(find_blocks(document.text)):
                self._findings.warn(file, "the document holds only headings", "write what is to be answered below them")
            if not document.title.strip():
                self._findings.fault(file, "the title is empty", "answers name a document by its title", line=1)

    def _check_intents(self) -> None:
        if not (self._pack.intents or self._findings.has_faults("intents.yaml")):
            hint = "give at least one with its utterances; `tidegate pack new` writes some where the file is missing"
            self._findings.fault("intents.yaml", "there are no intents", hint)
        for intent in self._pack.intents:
            if len(intent.utterances) < FEWEST_UTTERANCES:
                reason = f"{intent.id} has {len(intent.utterances)} utterance(s)"
                hint = f"an intent is told apart well from {FEWEST_UTTERANCES} on, in each language of the site"
                self._findings.warn_of(intent, reason, hint)

    def _check_replies(self) -> None:
        """A reply that no intent leads to is never said."""
        spoken = {intent.id for intent in self._pack.intents if intent.verdict in SPOKEN}
        known = {"unsafe", *SPOKEN, *spoken, *(reply.intent for reply in shipped_replies())}
        for reply in self._pack.replies:
            if reply.intent not in known:
                hint = f"name a verdict ({', '.join(SPOKEN)}) or an intent with one of them, or `unsafe`"
                self._findings.fault_of(reply, f"the reply {reply.intent} is for no such intent", hint)

    def _check_language(self, question: LabelledQuestion) -> None:
        supported = question.language in self._languages
        if supported == (question.kind == "unsupported_language"):
            reason = f"{question.id} is in {question.language} and of kind {question.kind}"
            self._findings.fault_of(question, reason, self._languages_hint)

    def _check_labels(self, question: LabelledQuestion) -> None:
        answered = question.kind in ANSWERED
        if answered != bool(question.documents) or answered != bool(question.facts):
            hint = "a question that has an answer cites documents and states facts; any other has neither"
            self._findings.fault_of(question, f"{question.id} is of kind {question.kind}", hint)
        for name in question.documents:
            document = self._documents.get(name)
            if document is None:
                self._unknown(question, f"{question.id} cites {name}")
            elif (document.scope == "hub") != (question.kind == "hub"):
                hint = "a question of kind hub cites hub documents, and no other question does"
                self._findings.fault_of(question, f"{question.id} cites {name}, of scope {document.scope}", hint)

    def _check_facts(self, question: LabelledQuestion) -> None:
        texts = [self._documents[name].text for name in question.documents if name in self._documents]
        for fact in question.facts:
            if not all(form.strip() for form in fact.split("|")):
                self._findings.fault_of(
                    question, f"{question.id}: a form of the fact {fact!r} is empty", "give it a text"
                )
            elif texts and not any(states(text, fact) for text in texts):
                hint = "a fact is a short string that stands in one of the documents"
                self._findings.fault_of(question, f"{question.id}: no cited document says {fact!r}", hint)

    def _check_personal(self, question: LabelledQuestion) -> None:
        if (question.kind == "personal") and not question.personal:
            self._findings.fault_of(question, f"{question.id} names no personal values", "list them under personal")
        for value in question.personal:
            if not value or value not in question.text:
                self._findings.fault_of(question, f"{question.id}: {value!r} is not in its text", "write it as there")

    def _check_calibration(self) -> None:
        """The confidence is fitted on questions that a site answers rightly, and on some that nobody can answer."""
        cited = {name for item in self._pack.calibration for name in item.documents}
        hint = "the confidence is learned from questions with an answer and from questions without"
        if self._findings.documents_unread or self._findings.has_faults("calibration.yaml"):
            pass
        elif not self._pack.calibration:
            if (self._findings.path / "calibration.yaml").exists():
                self._findings.fault(
                    "calibration.yaml", "there are no questions", f"{hint}; without the file the shipped one holds"
                )
        elif not any(self._is_at_site(name) for name in cited):
            self._findings.fault("calibration.yaml", "no question has a document that a site holds", hint)
        elif all(item.documents for item in self._pack.calibration):
            self._findings.fault("calibration.yaml", "no question is without documents", hint)
        for item in self._pack.calibration:
            if item.language not in self._languages:
                reason = f"{item.language} is not a language of this site"
                self._findings.fault_of(item, reason, self._languages_hint)
            for name in item.documents:
                if name not in self._documents:
                    self._unknown(item, f"a calibration question cites {name}")

    def _is_at_site(self, name: str) -> bool:
        return name not in self._documents or is_held(self._documents[name].scope, "site")

    def _unknown(self, item: object, reason: str) -> None:
        if not self._findings.documents_unread:
            self._findings.fault_of(item, reason, "there is no document with this id")

    def _check_unique(self) -> None:
        for items in (self._pack.intents, self._pack.questions):
            seen: set[str] = set()
            for item in items:
                if item.id in seen:
                    self._findings.fault_of(item, f"the id {item.id} is taken", "give each its own id")
                seen.add(item.id)

    def _check_leaks(self) -> None:
        """A question that is measured must not be one that anything was trained or calibrated on, nor come twice."""
        seen: dict[str, str] = {}
        for intent in self._pack.intents:
            for utterance in intent.utterances:
                wording = normalise_wording(utterance)
                if wording in seen:
                    reason = f"the utterance {utterance!r} of {intent.id} stands in {seen[wording]}"
                    self._findings.fault_of(intent, reason, "an utterance teaches once")
                seen[wording] = f"intents.yaml, {intent.id}"
        for kind, items in (("calibration.yaml", self._pack.calibration), ("questions.yaml", self._pack.questions)):
            for item in items:
                wording = normalise_wording(item.text)
                if wording in seen:
                    hint = "a question is used to teach, to calibrate or to measure, once"
                    self._findings.fault_of(item, f"{item.text!r} stands in {seen[wording]}", hint)
                seen[wording] = kind
