"""Whether passages bear out a sentence that a model wrote of them: its numbers, denials, names, small words and words.

Rules find what differs, and a fitted model weighs it; rather too strict, for a sentence that fails is replaced by a
quotation. Next: `claim_edits`, `entailment`, `grounded_writer`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from math import ceil, log1p
from typing import NamedTuple

import msgspec

from tidegate.schemas.vault_token import tokens_in, without_tokens
from tidegate.services.answering.answer_lead import LEAD_FEATURES, NO_LEAD, AnswerLead, measure_lead, split_lead
from tidegate.services.answering.claim_denials import count_absences, refuses, wrong_denial
from tidegate.services.answering.claim_edits import EDIT_FEATURES, measure_edits
from tidegate.services.answering.claim_numbers import count_reversed, wrong_number
from tidegate.services.answering.claim_places import PLACE_FEATURES, measure_places
from tidegate.services.answering.entailment import load_entailment
from tidegate.services.answering.lead_verdict import read_verdict
from tidegate.services.answering.quantities import leave_out_quantities
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.index.sentences import split_sentences
from tidegate.services.knowledge.reader.yes_no import Polarity, read_polarity
from tidegate.services.languages.claim_words import load_claim_words
from tidegate.services.languages.extraction_words import fold

BORNE_OUT_FROM = 0.5
"""The share of a sentence's terms that its evidence, its headings or the question must hold, whatever else it says."""
LEAD_FROM = 0.3
"""Log odds from which what is stated and cited bears a yes or no out: on the dev documents 36 % of the right ones stand
then, and 5 % of the wrong ones (decision 0060)."""
MOST_EVIDENCE = 3
"""Sentences that one sentence may be drawn from."""
LEAST_STEM, SAME_STEM = 5, 0.6
"""Letters that two forms of a word have in common from the first on, and their share of the longer form."""
_CAPITALISED = re.compile(r"(?<=[^\s.!?:])\s+[\"'“‘(]*([A-ZÀ-Þ][\w’'-]*)")


class SourceText(msgspec.Struct, frozen=True):
    """A text that a sentence may rest on; `around` is what stands over it (title, heading, a table's header)."""

    text: str
    language: str
    around: str = ""


class SentenceCheck(msgspec.Struct, frozen=True):
    """`score` is the chance that it is borne out, see `entailment`; `fault` says what is not, empty where it passed.

    `doubtful` is a yes or no that it begins with and that nothing bears out or contradicts, with what it says besides.
    """

    score: float
    fault: str = ""
    doubtful: AnswerLead = NO_LEAD

    @property
    def passed(self) -> bool:
        """Whether the sentence may be said."""
        return not self.fault


def check_sentence(sentence: str, evidence: Sequence[SourceText], question: str = "") -> SentenceCheck:
    """Hold a sentence against all of `evidence` together; the question lends it words, never numbers."""
    if not evidence:
        return SentenceCheck(0.0, "it cites nothing")
    whole = " ".join(f"{each.around} {each.text}" for each in evidence)
    if lost := set(tokens_in(sentence)) - set(tokens_in(f"{whole} {question}")):
        return SentenceCheck(0.0, f"{len(lost)} vault tokens are in no passage")
    language, question = evidence[0].language, without_tokens(question)
    lead, bare = split_lead(sentence, language), without_tokens(sentence)
    if lead.says and not find_terms(without_tokens(lead.rest), language):
        return _check_bare_lead(lead, evidence, question)
    if not find_terms(bare, language):
        return SentenceCheck(0.0, "it says nothing")
    found = describe_claim(bare, evidence, question)
    model = load_entailment()
    score = model.score(found.row)
    if found.is_lost:
        score = min(score, model.threshold / 2)
    is_sure = not lead.says or found.is_lead_certain or _stands(lead, found.leads)
    return SentenceCheck(score, "" if score >= model.threshold else found.fault, NO_LEAD if is_sure else lead)


def _stands(lead: AnswerLead, leads: dict[str, float]) -> bool:
    """Whether what is stated and cited bears a lead out; "if" alone, without "only" or a denial, bears out no no."""
    if lead.says == "no" and leads["lead_condition"] and not (leads["lead_only"] or leads["lead_stated"]):
        return False
    return load_entailment().weigh(leads) >= LEAD_FROM


def _check_bare_lead(lead: AnswerLead, evidence: Sequence[SourceText], question: str) -> SentenceCheck:
    """A yes or no that says nothing else is borne out where a sentence that fits the question says it in the question's
    words, and as far as that sentence is."""
    language = evidence[0].language
    for part in _choose(find_terms(question, language), evidence):
        polarity = _read_answer(question, part, language)
        if polarity:
            fault = f"it says {lead.says} where what it cites says {polarity}"
            return check_sentence(part, evidence) if polarity == lead.says else SentenceCheck(0.0, fault)
    return SentenceCheck(0.0, f"nothing that it cites says {lead.says}", AnswerLead(lead.says, ""))


def _read_answer(question: str, part: str, language: str, stated: str = "") -> Polarity:
    """What a sentence says to the question, by what the two are about, or in the question's words. What is `stated` of
    it denies no yes: where it does, the rules have misread the one or the other."""
    verdict = read_verdict(question, part, language)
    if verdict == "yes" and refuses(stated, language):
        verdict = ""
    return verdict or read_polarity(question, language, part)


class FoundInClaim(NamedTuple):
    """The features of a sentence beside its evidence, and the first fault in words; `is_lost` where no other feature
    can make good for it. `leads` are the `LEAD_FEATURES` with what speaks for its yes or no; `is_lead_certain` where
    what it cites says the same in the question's words."""

    row: dict[str, float]
    fault: str
    is_lost: bool
    leads: dict[str, float]
    is_lead_certain: bool


def describe_claim(sentence: str, evidence: Sequence[SourceText], question: str = "") -> FoundInClaim:
    """What the model of `entailment` weighs; see `CLAIM_FEATURES`. `evidence` is not empty."""
    language = evidence[0].language
    lead = split_lead(sentence, language)
    parts = _choose(find_terms(lead.rest, language), evidence)
    around = " ".join(each.around for each in evidence)
    text = " ".join(each.text for each in evidence)
    words, related = _measure_words(lead.rest, f"{' '.join(parts)} {around} {question}", language)
    polarity = _read_answer(question, parts[0], language, lead.rest) if lead.says and question and parts else ""
    faults = {
        "number": wrong_number(lead.rest, parts, around, language),
        "name": _wrong_name(lead.rest, f"{text} {around} {question}", language),
        "lead": f"it says {lead.says} where what it cites says {polarity}" if polarity not in ("", lead.says) else "",
        "denial": wrong_denial(lead.rest, parts, language),
    }
    edits = measure_edits(lead.rest, text, f"{around} {question}", language)
    places = measure_places(lead.rest, text, language)
    leads = measure_lead(lead, question, parts[0] if parts else text, language)
    is_certain = bool(polarity) and polarity == lead.says
    row = {
        **words,
        **{name: float(bool(fault)) for name, fault in faults.items()},
        **edits,
        "reversed_numbers": float(min(2, count_reversed(lead.rest, text, language))),
        "absence_changed": float(min(2, count_absences(lead.rest, text, language))),
        "denial_alone": float(bool(faults["denial"]) and not words["missing"]),
        "exchanged_alone": float(bool(edits["exchanged_word"]) and not words["missing"]),
        **places,
        # What speaks for a yes excuses no other fault, and nothing speaks against one that is certain.
        **{name: 0.0 if is_certain else min(0.0, value) for name, value in leads.items()},
    }
    named = next(filter(None, faults.values()), "") or _name_edit(row)
    if not named and not is_certain and sum(leads.values()) < 0:
        named = f"its {lead.says} is not what it cites says"
    fault = named or f"only {words['borne_out']:.0%} of its words are in what it cites"
    is_lost = bool(faults["number"] or faults["name"] or faults["lead"]) or related < BORNE_OUT_FROM
    return FoundInClaim(row, fault, is_lost, leads, is_certain)


WORD_FEATURES = ("borne_out", "missing", "one_missing", "terms")
"""`borne_out`: the share of its terms that the evidence, its headings or the question hold."""
CLAIM_FEATURES = (
    *WORD_FEATURES, "number", "name", "denial", "lead", *EDIT_FEATURES, "reversed_numbers", "absence_changed",
    "denial_alone", "exchanged_alone", *PLACE_FEATURES, *LEAD_FEATURES,
)  # fmt: skip


def _measure_words(stated: str, known_text: str, language: str) -> tuple[dict[str, float], float]:
    """The values of `WORD_FEATURES`, and the share of the terms that the known text holds in some form."""
    lexicon = load_claim_words(language)
    small = lexicon.fillers | lexicon.denials
    words = [word for word in leave_out_quantities(stated, language).split() if fold(word) not in small]
    own = find_terms(" ".join(words), language)
    # "70th" is one term, and a number with an ending where numbers are left out.
    known = {*find_terms(known_text, language), *find_terms(leave_out_quantities(known_text, language), language)}
    missing = [term for term in own if term not in known]
    foreign = [term for term in missing if not is_form_of(term, known)]
    row = {
        "borne_out": 1.0 - len(missing) / len(own) if own else 1.0,
        "missing": float(min(4, len(missing))),
        "one_missing": float(len(missing) == 1),
        "terms": min(3.0, log1p(len(own))),
    }
    return row, 1.0 - len(foreign) / len(own) if own else 1.0


def is_form_of(term: str, known: Collection[str]) -> bool:
    """Whether one of the known terms is another form of it, or one is a part of the other: "Grablichter", "Lichter"."""
    return any(_is_form(term, other) for other in known)


def _is_form(term: str, other: str) -> bool:
    short, long = sorted((term, other), key=len)
    if len(short) < LEAST_STEM:
        return False
    alike = max(LEAST_STEM, ceil(SAME_STEM * len(long)))
    return short in long or (len(short) >= alike and short[:alike] == long[:alike])


def _name_edit(row: dict[str, float]) -> str:
    """The first difference in small words, said in words; empty where there is none."""
    if row["denial_changed"] or row["denial_added"] or row["denial_dropped"] or row["absence_changed"]:
        return "it denies otherwise than what it cites"
    if row["swapped"] or any(row[name] for name in (*PLACE_FEATURES, "reversed_numbers")):
        return "what it says of one thing is said of another in what it cites"
    if row["beside_number"]:
        return "a number has another unit in what it cites"
    kinds = [name.split("_")[-1] for name in EDIT_FEATURES if row[name] and name.startswith(("exchanged", "only"))]
    return f"it says another {kinds[0]} than what it cites" if kinds else ""


def _choose(terms: Sequence[str], evidence: Sequence[SourceText]) -> list[str]:
    """The sentences of the evidence that hold most of the terms, each for what the ones before it lack."""
    language = evidence[0].language
    parts = [each.text[slice(*span)] for each in evidence for span in split_sentences(each.text, 0, len(each.text))]
    held = [set(find_terms(part, language)) for part in parts]
    wanted = set(terms)
    chosen: list[str] = []
    while parts and len(chosen) < MOST_EVIDENCE:
        gains = [len(wanted & own) for own in held]
        best = max(range(len(parts)), key=gains.__getitem__)
        if chosen and not gains[best]:
            break
        chosen.append(parts[best])
        wanted -= held[best]
        held[best] = set()
    return chosen


def _wrong_name(sentence: str, known_text: str, language: str) -> str:
    known = set(find_terms(known_text, language))
    for name in _CAPITALISED.findall(sentence):
        if any(term not in known and not is_form_of(term, known) for term in find_terms(name, language)):
            return f"the name {name} is not in what it cites"
    return ""
