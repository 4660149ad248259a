"""What must hold across the files of a pack, beyond that each can be read."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from ruamel.yaml import YAML

from tidegate.schemas.pack import LabelledQuestion, Pack

FEWEST_UTTERANCES = 8
ANSWERED = ("answerable", "paraphrased", "language", "personal", "hub")
VERBS: dict[str, tuple[str, ...]] = {
    "allow": ("grounded_claims",),
    "transform": ("redact_pii",),
    "block": ("speculative_financial_promises", "medical_advice", "legal_advice"),
}
THRESHOLDS = ("entailment", "confidence")


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong, and what to do about it. `line` counts from 1; 0 where it is not known."""

    file: str
    reason: str
    hint: str
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.reason} ({self.hint})"


class Found:
    """Faults and warnings as they come up, and where each document and each list item lies."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self.place_of_document: dict[str, str] = {}
        self.place_of_item: dict[int, tuple[str, int]] = {}
        self.documents_unread = 0
        """While there are any, that a document is unknown is not held against who cites it."""
        self._unplaced: list[tuple[list[Fault], int, int]] = []

    def fault(self, file: str, reason: str, hint: str, *, line: int = 0, item: int | None = None) -> None:
        """Note a fault at a line, or at an item of a list, whose line is looked up at the end."""
        self._note(self.faults, Fault(file=file, reason=reason, hint=hint, line=line), item)

    def fault_of(self, value: object, reason: str, hint: str) -> None:
        """Note a fault of an item of a list that was read."""
        file, item = self.place_of_item[id(value)]
        self.fault(file, reason, hint, item=item)

    def warning_of(self, value: object, reason: str, hint: str) -> None:
        """Note a warning about an item of a list that was read."""
        file, item = self.place_of_item[id(value)]
        self._note(self.warnings, Fault(file=file, reason=reason, hint=hint), item)

    def place_lines(self, path: Path) -> None:
        """Give the faults of list items their lines. Only a pack with faults pays for the second reading."""
        lines: dict[str, list[int]] = {}
        for notes, index, item in self._unplaced:
            file = notes[index].file
            if file not in lines:
                lines[file] = _lines_of(path / file)
            notes[index] = msgspec.structs.replace(notes[index], line=lines[file][item])

    def _note(self, notes: list[Fault], note: Fault, item: int | None) -> None:
        notes.append(note)
        if item is not None:
            self._unplaced.append((notes, len(notes) - 1, item))


def _lines_of(file: Path) -> list[int]:
    return [node.start_mark.line + 1 for node in YAML(typ="safe", pure=True).compose(file.read_text("utf-8")).value]


def fold(text: str) -> str:
    """Letter case and the width and kind of white space do not matter."""
    return " ".join(text.casefold().split())


def states(text: str, fact: str) -> bool:
    """Whether `text` says `fact`, or one of its forms where it is written `a|b`.

    A number is never found inside a longer one: £5 is not said by £50, £5.75 or £15.
    """
    folded = fold(text)
    return any(_form(form).search(folded) is not None for form in fact.split("|"))


@cache
def _form(form: str) -> re.Pattern[str]:
    folded = fold(form)
    before = r"(?<!\d)(?<!\d[.,:])" if folded[:1].isdigit() else ""
    after = r"(?![.,:]?\d)" if folded[-1:].isdigit() else ""
    return re.compile(before + re.escape(folded) + after)


def wording(text: str) -> str:
    """What makes two questions the same one: their words, without case and punctuation."""
    return " ".join(re.findall(r"\w+", text.casefold()))


class Rulebook:
    """Holds a pack against the rules, and notes what it finds."""

    def __init__(self, pack: Pack, languages: tuple[str, ...], found: Found) -> None:
        self._pack = pack
        self._languages = languages
        self._found = found
        self._documents = {document.id: document for document in pack.documents}

    def apply(self) -> None:
        """Every rule but that of the policies."""
        self._check_documents()
        if not self._pack.policy_files:
            self._found.fault(
                "policies", "there is no policy", "a site answers only under one: add policies/<name>.yaml"
            )
        self._check_intents()
        for question in self._pack.questions:
            self._check_language(question)
            self._check_labels(question)
            self._check_facts(question)
            self._check_personal(question)
        self._check_calibration()
        self._check_unique()
        self._check_leaks()

    def policy(self, file: str, raw: Any) -> None:
        """The form of one policy file; `raw` is None if it could not be read, which was noted then."""
        if raw is None:
            return
        keys = {"policy_id", *VERBS, "abstain_thresholds"}
        if not isinstance(raw, dict) or not isinstance(raw.get("policy_id"), str):
            self._found.fault(file, "a policy is a mapping with a policy_id", "policy_id: my-policy-v1", line=1)
            return
        for key in raw.keys() - keys:
            self._found.fault(file, f"{key} is not a part of a policy", f"the parts are {', '.join(sorted(keys))}")
        for verb, rules in VERBS.items():
            named = raw.get(verb) or []
            unknown = [rule for rule in named if rule not in rules] if isinstance(named, list) else [named]
            for rule in unknown:
                self._found.fault(file, f"{rule} cannot be used with {verb}", f"a list out of {', '.join(rules)}")
        thresholds = raw.get("abstain_thresholds") or {}
        for name, value in thresholds.items() if isinstance(thresholds, dict) else ((thresholds, None),):
            if name not in THRESHOLDS or not isinstance(value, int | float) or not 0 <= value <= 1:
                hint = f"{' or '.join(THRESHOLDS)}, from 0 to 1"
                self._found.fault(file, f"{name}: {value} is not a threshold", hint)

    def _check_documents(self) -> None:
        if not self._pack.documents:
            self._found.fault("documents", "there are no documents", "add documents/<topic>.md with front matter")
        for document in self._pack.documents:
            file = self._found.place_of_document[document.id]
            if document.language not in self._languages:
                hint = f"prefilter.languages in site.toml has {', '.join(self._languages)}"
                self._found.fault(file, f"{document.language} is not a language of this site", hint, line=1)
            if not document.text.strip():
                self._found.fault(file, "the document is empty", "write its text below the front matter", line=1)
            if not document.title.strip():
                self._found.fault(file, "the title is empty", "answers name a document by its title", line=1)

    def _check_intents(self) -> None:
        for intent in self._pack.intents:
            if len(intent.utterances) < FEWEST_UTTERANCES:
                reason = f"{intent.id} has {len(intent.utterances)} utterance(s)"
                hint = f"an intent is told apart well from {FEWEST_UTTERANCES} on, in each language of the site"
                self._found.warning_of(intent, reason, hint)

    def _check_language(self, question: LabelledQuestion) -> None:
        supported = question.language in self._languages
        if supported == (question.kind == "unsupported_language"):
            hint = f"prefilter.languages in site.toml has {', '.join(self._languages)}"
            reason = f"{question.id} is in {question.language} and of kind {question.kind}"
            self._found.fault_of(question, reason, hint)

    def _check_labels(self, question: LabelledQuestion) -> None:
        answered = question.kind in ANSWERED
        if answered != bool(question.documents) or answered != bool(question.facts):
            hint = "a question that has an answer cites documents and states facts; any other has neither"
            self._found.fault_of(question, f"{question.id} is of kind {question.kind}", hint)
        for name in question.documents:
            document = self._documents.get(name)
            if document is None:
                self._unknown(question, f"{question.id} cites {name}")
            elif (document.scope == "hub") != (question.kind == "hub"):
                hint = "a question of kind hub cites hub documents, and no other question does"
                self._found.fault_of(question, f"{question.id} cites {name}, of scope {document.scope}", hint)

    def _check_facts(self, question: LabelledQuestion) -> None:
        texts = [self._documents[name].text for name in question.documents if name in self._documents]
        for fact in question.facts:
            if not all(form.strip() for form in fact.split("|")):
                self._found.fault_of(question, f"{question.id}: a form of the fact {fact!r} is empty", "give it a text")
            elif texts and not any(states(text, fact) for text in texts):
                hint = "a fact is a short string that stands in one of the documents"
                self._found.fault_of(question, f"{question.id}: no cited document says {fact!r}", hint)

    def _check_personal(self, question: LabelledQuestion) -> None:
        if (question.kind == "personal") and not question.personal:
            self._found.fault_of(question, f"{question.id} names no personal values", "list them under personal")
        for value in question.personal:
            if not value or value not in question.text:
                self._found.fault_of(question, f"{question.id}: {value!r} is not in its text", "write it as there")

    def _check_calibration(self) -> None:
        for item in self._pack.calibration:
            if item.language not in self._languages:
                hint = f"prefilter.languages in site.toml has {', '.join(self._languages)}"
                self._found.fault_of(item, f"{item.language} is not a language of this site", hint)
            for name in item.documents:
                if name not in self._documents:
                    self._unknown(item, f"a calibration question cites {name}")

    def _unknown(self, item: object, reason: str) -> None:
        if not self._found.documents_unread:
            self._found.fault_of(item, reason, "there is no document with this id")

    def _check_unique(self) -> None:
        for items in (self._pack.intents, self._pack.questions):
            seen: set[str] = set()
            for item in items:
                if item.id in seen:
                    self._found.fault_of(item, f"the id {item.id} is taken", "give each its own id")
                seen.add(item.id)

    def _check_leaks(self) -> None:
        """A question that is measured must not be one that anything was trained or calibrated on, nor come twice."""
        seen: dict[str, str] = {}
        for intent in self._pack.intents:
            for utterance in intent.utterances:
                if wording(utterance) in seen:
                    reason = f"the utterance {utterance!r} of {intent.id} stands in {seen[wording(utterance)]}"
                    self._found.fault_of(intent, reason, "an utterance teaches once")
                seen[wording(utterance)] = f"intents.yaml, {intent.id}"
        for kind, items in (("calibration.yaml", self._pack.calibration), ("questions.yaml", self._pack.questions)):
            for item in items:
                if wording(item.text) in seen:
                    hint = "a question is used to teach, to calibrate or to measure, once"
                    self._found.fault_of(item, f"{item.text!r} stands in {seen[wording(item.text)]}", hint)
                seen[wording(item.text)] = kind
