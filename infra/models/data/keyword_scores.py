"""BM25 over the units of a corpus, with the product's terms; for training and measuring."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from tidegate.services.knowledge.index.keyword import find_terms

SATURATION = 1.2
LENGTH_SHARE = 0.75


class KeywordScores:
    """Scores texts of one corpus; each text is in its own language, and so is the question's analysis for it."""

    def __init__(self, texts: Sequence[str], languages: Sequence[str]) -> None:
        self._languages = tuple(languages)
        counts = [Counter(find_terms(text, language)) for text, language in zip(texts, languages, strict=True)]
        lengths = np.array([sum(each.values()) for each in counts], dtype=float)
        self._norm = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * lengths / max(1.0, lengths.mean()))
        self._postings: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for number, (each, language) in enumerate(zip(counts, languages, strict=True)):
            for term, count in each.items():
                self._postings[language, term].append((number, count))
        self._size = Counter(languages)

    def rarity(self, term: str, language: str) -> float:
        held = len(self._postings.get((language, term), ()))
        return log(1 + (self._size[language] - held + 0.5) / (held + 0.5))

    def score(self, question: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """BM25 of each text, and the share of the question's terms, weighted by rarity, that it holds."""
        scores = np.zeros(len(self._languages))
        held = np.zeros(len(self._languages))
        for language in self._size:
            terms = {term: self.rarity(term, language) for term in find_terms(question, language)}
            total = sum(terms.values())
            for term, rarity in terms.items():
                for number, count in self._postings.get((language, term), ()):
                    scores[number] += rarity * count * (SATURATION + 1) / (count + self._norm[number])
                    held[number] += rarity / total
        return scores, held
