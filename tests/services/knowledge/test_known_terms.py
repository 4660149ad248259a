"""Terms are looked up once for each version of an index."""

from __future__ import annotations

from collections import Counter

from tidegate.services.knowledge.index.known_terms import TERMS_KEPT, KnownTerms


class Lookups:
    """An index in which the terms of this version stand, and how often each was looked up."""

    def __init__(self) -> None:
        self.known = KnownTerms()
        self.stated = {"v1": {"loan"}, "v2": {"card"}}
        self.looked_up: Counter[str] = Counter()

    def has(self, version: str, term: str, language: str = "en") -> bool:
        def look_up(term: str, language: str) -> bool:
            self.looked_up[f"{version} {term} {language}"] += 1
            return language == "en" and term in self.stated[version]

        return self.known.has(version, term, language, look_up)


def test_a_term_is_looked_up_once_for_each_version_and_language() -> None:
    index = Lookups()
    for _ in range(3):
        assert index.has("v1", "loan")
        assert not index.has("v1", "loan", "de")
        assert not index.has("v1", "card")
    assert set(index.looked_up.values()) == {1}
    assert index.has("v2", "card")
    assert not index.has("v2", "loan")
    assert index.has("v1", "loan"), "what was known of another version counts no more"


def test_what_is_kept_is_bounded() -> None:
    index = Lookups()
    for n in range(TERMS_KEPT + 10):
        assert not index.has("v1", f"t{n}")
    assert len(index.known._found) == TERMS_KEPT
