"""The stems of a text in a language for which the search engine has no stemmer. The only module that imports
snowballstemmer (Snowball, Porter 2001). Next: stop_words.py."""

from __future__ import annotations

import re

from tidegate.services.languages.stop_words import load_stop_words

STEMMED_HERE = {"pl": "polish"}
_WORD = re.compile(r"[^\W_]+")


def stem_text(text: str, language: str) -> str:
    """The words of a text, but for stop words, in lower case, stemmed and joined by blanks; as it is where the search
    engine knows the language itself."""
    if language not in STEMMED_HERE:
        return text
    import snowballstemmer  # its stemmers of all languages are 3 MB, for those who read Polish

    stop_words = frozenset(load_stop_words(language))
    words = [word for word in _WORD.findall(text.lower()) if word not in stop_words]
    stemmer = snowballstemmer.stemmer(STEMMED_HERE[language])  # one for each call: it keeps the word that it works on
    return " ".join(stemmer.stemWords(words))
