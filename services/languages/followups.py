"""Makes a standalone question of a follow-up in a conversation, by the words of its language; no model is asked.

Promises that a question which stands by itself stays as it is, and says so where a follow-up cannot be resolved.
Pure. Next: dialogue_words.py, the words; fragments.py, how a fragment joins the question before it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from tidegate.schemas import Turn
from tidegate.schemas.vault_token import number_tokens
from tidegate.services.languages.dialogue_patterns import (
    DialoguePatterns,
    compile_dialogue,
    find_words,
    topic_words,
)
from tidegate.services.languages.fragments import append_to, join_fragment, replace_span
from tidegate.services.languages.noun_phrases import NounPhrase, find_phrases, is_code
from tidegate.services.languages.pleasantries import take_pleasantries
from tidegate.services.languages.words import LANGUAGES

Resolution = Literal["standalone", "rewritten", "unclear"]

MOST_TURNS = 16
"""Turns that are looked at: what was said before them is seldom meant."""
MOST_FRAGMENT_WORDS = 9
"""A turn without a verb and longer than this is told, not asked."""
MOST_FRAGMENT_TOPICS = 3
MOST_UNNAMED = 2
"""From so many words with a topic on, a sentence says itself what a later pronoun stands for."""
MOST_REFERRING_TOPICS = 3
"""A sentence with more words that have a topic says itself what it is about."""
_LAST_SENTENCE = re.compile(r"[^.!?…]*[?][\s\"'»”’)]*$")
_CLAUSE = re.compile(r"[,.;:!?]\s")
_PARTS = re.compile(r"(?<=[^\d][.!?])\s+(?=[A-ZÀ-Ý¿¡0-9])")


class ResolvedQuestion(NamedTuple):
    """A question as it is to be answered: `rewritten` from a follow-up, or as it was asked."""

    text: str
    resolution: Resolution = "standalone"


def resolve_followup(question: str, history: Sequence[Turn], language: str) -> ResolvedQuestion:
    """The question as it stands by itself after `history`, which is in the same language, oldest turn first.

    `unclear` where it goes on from something that nobody said. What it becomes does not depend on the digits of vault
    tokens.
    """
    if language not in LANGUAGES or not any(turn.role == "user" for turn in history):
        return ResolvedQuestion(question)
    numbered = number_tokens((question, *(turn.text for turn in history)))
    turns = [Turn(turn.role, text) for turn, text in zip(history, numbered.texts[1:], strict=True)]
    resolved = _resolve(numbered.texts[0], turns, _Resolver(language))
    return replace_text(resolved, numbered.restore(resolved.text))


def _resolve(question: str, history: Sequence[Turn], resolver: _Resolver) -> ResolvedQuestion:
    before, answer = "", ""
    for turn in history[-MOST_TURNS:]:
        if turn.role == "assistant":
            answer = turn.text
            continue
        asked = take_pleasantries(turn.text).rest
        resolved = resolver.resolve(asked, before, answer)
        if resolver.has_topic(resolved.text):
            before, answer = resolved.text, ""
    asked = take_pleasantries(question).rest
    resolved = resolver.resolve(asked, before, answer) if asked else ResolvedQuestion(question)
    # What was not rewritten stays as it was asked, greetings and all.
    return resolved if resolved.resolution == "rewritten" else replace_text(resolved, question)


def replace_text(resolved: ResolvedQuestion, question: str) -> ResolvedQuestion:
    """The outcome with another text."""
    return resolved._replace(text=question)


class _Resolver:
    """Resolves one turn after another of a conversation in one language."""

    def __init__(self, language: str) -> None:
        self._patterns = compile_dialogue(language)
        self._capitals_name = language != "de"  # where every noun has a capital, a capital names nothing

    def has_topic(self, text: str) -> bool:
        return bool(topic_words(text, self._patterns))

    def resolve(self, turn: str, before: str, answer: str) -> ResolvedQuestion:
        """`turn` after the standalone question `before` and its `answer`; either may be empty."""
        patterns = self._patterns
        corrected = self._corrected(turn)
        if corrected and before:
            question = _last_part(before)
            return ResolvedQuestion(self._join(corrected, question), "rewritten")
        lead = patterns.lead.match(turn)
        body = turn[lead.end() :] if lead else turn
        is_sentence = bool(patterns.sentence.search(body)) or len(find_words(body)) > MOST_FRAGMENT_WORDS
        asked_back = _LAST_SENTENCE.search(answer)
        if asked_back and before and "?" not in turn and not patterns.question_word.match(turn.strip()):
            clarified = self._clarify(body, before, asked_back[0])
            if clarified:
                return ResolvedQuestion(clarified, "rewritten")
        if turn.rstrip().endswith("!") and "?" not in turn:
            return ResolvedQuestion(turn)
        if not is_sentence and (lead or self._is_fragment(body)):
            return self._joined(turn, body, before, goes_on=bool(lead))
        reference = self._reference(body)
        if reference is not None:
            return self._referred(body if lead else turn, reference, before, answer)
        if self._is_sparse(body):
            return self._with_topic(turn, before)
        if patterns.comparative.search(body) and before and self._compares(body, before):
            return self._with_topic(turn, before)
        return ResolvedQuestion(turn)

    def _corrected(self, turn: str) -> str:
        """What a correction puts in the place of what was said; empty where the turn is none."""
        patterns = self._patterns
        begin, end = patterns.correction.match(turn), patterns.correction_end.search(turn)
        negated = patterns.negated.search(turn)
        if not (begin or end or (negated and not patterns.sentence.search(turn[: negated.start()]))):
            return ""
        rest = turn[begin.end() if begin else 0 : end.start() if end else len(turn)]
        without = patterns.negated.sub("", rest).strip(" ,.;:!")
        first = without.partition(",")[0]
        without = first if self.has_topic(first) else without
        if not without:  # "not 2, 12!"
            without = rest.rpartition(",")[2].strip(" ,.;:!")
        is_fragment = self.has_topic(without) and len(find_words(without)) <= MOST_FRAGMENT_WORDS
        return "" if "?" in turn or patterns.sentence.search(without) or not is_fragment else without

    def _join(self, fragment: str, question: str) -> str:
        return join_fragment(fragment, question, self._patterns, capitals_name=self._capitals_name)

    def _joined(self, turn: str, body: str, before: str, *, goes_on: bool) -> ResolvedQuestion:
        if not before:
            return ResolvedQuestion(turn, "unclear" if goes_on or not self.has_topic(body) else "standalone")
        return ResolvedQuestion(self._join(body, _last_part(before)), "rewritten")

    def _is_fragment(self, body: str) -> bool:
        """Whether a turn without a verb goes on from the one before: a word, or a part of a sentence. Two words or more
        that begin with none of its marks may be a question of their own ("opening hours")."""
        patterns = self._patterns
        topics = topic_words(body, patterns)
        first = next(iter(find_words(body)), None)
        is_part = (
            (first is not None and patterns.preposition.fullmatch(first[0]))
            or patterns.additions.search(body)
            or patterns.ones.search(body)
            or (topics and (patterns.calendar.match(topics[0]) or is_code(topics[0])))
            or (len(topics) == 2 and is_code(topics[1]))
        )
        return len(topics) <= (MOST_FRAGMENT_TOPICS if is_part else 1)

    def _is_sparse(self, body: str) -> bool:
        """Whether a sentence leaves out what it is about ("how often?", "¿qué tengo que llevar?")."""
        patterns = self._patterns
        topics = topic_words(body, patterns)
        if not topics:
            return True
        phrases = find_phrases(body, patterns, capitals_name=self._capitals_name)
        if patterns.addressed.search(body) or any(
            each.has_article or each.preposition or each.is_named for each in phrases
        ):
            return False
        is_noun = not self._capitals_name and any(word[0].isupper() for word in topics if not body.startswith(word))
        is_dropped = patterns.words.drops_subjects and patterns.question_word.match(body.lstrip("¿ "))
        return len(topics) <= (2 if is_dropped else 1) and not is_noun and bool(patterns.sentence.search(body))

    def _reference(self, body: str) -> re.Match[str] | None:
        """The word that stands for something said before; none where the sentence itself says it first."""
        patterns = self._patterns
        if len(topic_words(body, patterns)) > MOST_REFERRING_TOPICS:
            return None
        idle = [found.span() for found in patterns.no_things.finditer(body)]
        for pattern in (patterns.things, patterns.places, patterns.possessives, patterns.persons):
            for found in pattern.finditer(body):
                if any(start <= found.start() < end for start, end in idle):
                    continue
                if not self._names_itself(body[: found.start()]):
                    return found
        return None

    def _names_itself(self, text: str) -> bool:
        """Whether the words before a pronoun say what it stands for."""
        if len(topic_words(text, self._patterns)) >= MOST_UNNAMED:
            return True
        clause = _CLAUSE.split(text)[0] if _CLAUSE.search(text) else ""
        phrases = find_phrases(clause, self._patterns, capitals_name=self._capitals_name)
        return any(each.has_article for each in phrases)

    def _referred(self, turn: str, _: re.Match[str], before: str, answer: str) -> ResolvedQuestion:
        """The turn with what its pronoun stands for."""
        patterns = self._patterns
        found = self._reference(turn)
        topic = self._antecedent(found[0] if found else "", before, answer)
        if found is None or topic is None:
            is_lost = not before and len(topic_words(turn, patterns)) <= MOST_UNNAMED
            return ResolvedQuestion(turn, "unclear" if is_lost else "standalone")
        is_subject = patterns.things.fullmatch(found[0]) and not patterns.possessives.fullmatch(found[0])
        if is_subject and found[0].isascii() and " " not in found[0].strip() and "-" not in found[0]:
            return ResolvedQuestion(
                replace_span(turn, found.start(), found.start() + len(found[0].strip()), topic), "rewritten"
            )
        return ResolvedQuestion(append_to(turn, f"({topic})"), "rewritten")

    def _antecedent(self, pronoun: str, before: str, answer: str) -> str | None:
        patterns = self._patterns
        asks_who = bool(patterns.choice.match(_last_part(before).lstrip("¿ ")))
        person = self._find_person(answer) if asks_who or patterns.persons.fullmatch(pronoun) else ""
        chosen = "" if person or not asks_who else self._named_in(answer)
        return person or chosen or self._topic(before)

    def _named_in(self, answer: str) -> str:
        """The first thing in an answer that has a name."""
        phrases = find_phrases(f"- {answer}", self._patterns, capitals_name=self._capitals_name)
        return next((each.text for each in phrases if _has_name(each, capitals_name=self._capitals_name)), "")

    def _find_person(self, answer: str) -> str:
        found = _TITLED.findall(answer) or (_FULL_NAME.findall(answer) if self._capitals_name else [])
        return found[-1] if found else ""

    def _topic(self, question: str) -> str | None:
        """What a question is about: the phrase that is named, with what belongs to it, or the last one."""
        phrases = find_phrases(_last_part(question), self._patterns, capitals_name=self._capitals_name)
        if not phrases:
            words = topic_words(question, self._patterns)
            return " ".join(words) or None
        named = [each for each in phrases if _has_name(each, capitals_name=self._capitals_name)]
        chosen = named[-1] if named else next((each for each in phrases if each.has_article), phrases[0])
        return self._whole(chosen, phrases, _last_part(question))

    def _whole(self, chosen: NounPhrase, phrases: Sequence[NounPhrase], text: str) -> str:
        """The phrase with those that depend on it ("the data sheet of the Netal 40")."""
        start, end = chosen.start, chosen.end
        for each in phrases:
            if each.preposition and each.outer <= end + 1 and each.start > start:
                end = each.end
        return text[start:end]

    def _with_topic(self, turn: str, before: str) -> ResolvedQuestion:
        if not before:
            return ResolvedQuestion(turn, "unclear" if not topic_words(turn, self._patterns) else "standalone")
        words = " ".join(_content(_last_part(before), self._patterns, self._capitals_name))
        return ResolvedQuestion(append_to(turn, f"({words})"), "rewritten")

    def _compares(self, body: str, before: str) -> bool:
        """Whether both name something of the same kind, and the turn names but one."""
        mine = [word[0] for word in find_words(body) if is_code(word[0])]
        theirs = [word[0] for word in find_words(before) if is_code(word[0])]
        return len(mine) == 1 and bool(theirs)

    def _clarify(self, reply: str, before: str, asked_back: str) -> str:
        """The question before with what the asker chose or added; empty where the reply chooses nothing."""
        patterns = self._patterns
        if not self.has_topic(reply) and not any(each.search(reply) for each in patterns.ordinals):
            return ""
        options = patterns.options.split(asked_back)
        for ordinal, option in zip(patterns.ordinals, options, strict=False):
            if len(options) > 1 and ordinal.search(reply) and len(topic_words(reply, patterns)) <= 1:
                phrases = find_phrases(option, patterns, capitals_name=self._capitals_name)
                return append_to(before, phrases[-1].text) if phrases else ""
        return append_to(before, reply.strip(" .,;!"))


def _content(question: str, patterns: DialoguePatterns, capitals_name: bool) -> list[str]:
    phrases = find_phrases(question, patterns, capitals_name=capitals_name)
    return [f"{each.preposition} {each.text}".strip() for each in phrases] or [question]


def _last_part(question: str) -> str:
    """The last sentence of a turn that asks."""
    parts = _PARTS.split(question.strip())
    asking = [part for part in parts if "?" in part]
    return (asking or parts)[-1]


_TITLED = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|Herrn?|Frau|M|Mme|Mlle|Sra?)\.?\s+[A-ZÀ-Ý][\w-]+")
_FULL_NAME = re.compile(r"\b[A-ZÀ-Ý][a-zà-ÿ-]+\s+[A-ZÀ-Ý][a-zà-ÿ-]+")


def _has_name(phrase: NounPhrase, *, capitals_name: bool) -> bool:
    """Whether a phrase names one thing: by a name, a code, or a number after a noun; a quantity or a date does not."""
    words = phrase.text.split()
    return phrase.is_named and any(
        (any(letter.isdigit() for letter in word) and (at > 0 or any(letter.isalpha() for letter in word)))
        or (capitals_name and word[0].isupper() and not words[at - 1].strip(".").isdigit())
        for at, word in enumerate(words)
    )
