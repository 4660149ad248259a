"""The shapes of postal addresses: house numbers, postcodes, streets by their words, and what may stand around them.

Every repetition is bounded, so that no text takes long. Words are data: services/languages/data/addresses. Next:
addresses.py, which puts the shapes together."""

from __future__ import annotations

import re

from tidegate.services.languages.address_words import join_address_words
from tidegate.services.privacy.dlp.folding import fold

LETTER = r"[^\W\d_]"
CAPITAL = (
    r"(?-i:[A-Z\u00c0-\u00de\u0102\u0104\u0106\u010c\u0118\u011a\u0141\u0143\u0158\u015a\u0160\u0179\u017b\u017d])"
)
WORD = rf"{LETTER}+(?:['.-]{LETTER}+)*\.?"
PROPER = rf"(?<!{LETTER}){CAPITAL}{LETTER}*(?:['.-]{LETTER}+)*\.?"
SMALL = rf"(?<![^\W_])(?-i:(?:{join_address_words(lambda words: words.particles)})(?![^\W_])|(?:dell|d|l)')"
"""In small letters alone, so that no word is both this and a name."""
SEPARATOR = r"[\s,;|-]{1,4}"
COMMA = r"[\s,]{1,3}"
NUMBER = r"\d{1,5}(?:\s?[a-z](?![^\W_]))?(?:\s?[/-]\s?\d{1,4}[a-z]?(?![^\W_])){0,2}(?![\d:%\u20ac$\u00a3]|[.,]\d)"
SIGN = r"(?:(?:n\.?\s?[\u00ba\u00b0o]|no?\.|nr\.?|num\.?|#)\s?)?"
MEASURES = rf"(?!\s{{0,2}}(?:{join_address_words(lambda words: words.measures)})(?![^\W_]))"
HOUSE = rf"(?:{SIGN}{NUMBER}{MEASURES}|s/n(?![^\W_]))"
BRITISH = r"[A-Z]{1,2}\d[A-Z\d]?\s{0,2}\d[ABD-HJLNP-UW-Z]{2}"
DASHED = r"\d{2}-\d{3}|\d{4}-\d{3}|\d{5}-\d{3,4}"
CANADIAN = r"[A-CEGHJ-NPR-TVXY]\d[A-Z]\s{0,2}\d[A-Z]\d"
DUTCH = r"[1-9]\d{3}\s{0,2}[A-Z]{2}"
NUMERIC = r"\d{5}-\d{4}|\d{4,6}|\d{8}|\d{3}\s{1,2}\d{2}"
CODE = rf"(?<![^\W_])(?:{BRITISH}|{CANADIAN}|{DASHED}|{DUTCH}|{NUMERIC})(?![^\W_]|[.,-]\d)"
REGION = r"(?:\s{0,2}\([A-Z]{2}\)|\s{0,2}/\s{0,2}[A-Z]{2})?"
PLACE = rf"{PROPER}(?:(?:\s{{1,2}}|-)(?:{SMALL}\s{{1,2}}){{0,2}}{PROPER}){{0,3}}{REGION}"
LOWER_PLACE = rf"{WORD}(?:-{WORD})?(?:\s{{1,2}}{SMALL}\s{{1,2}}(?:{SMALL}\s{{1,2}})?{WORD})?"
UNITS = rf"(?:{join_address_words(lambda words: words.units)})(?![^\W_])\.?"
UNIT = rf"(?:{UNITS}\s{{0,2}}\d[\w/-]{{0,5}}|\d{{1,3}}[\u00ba\u00b0](?:\s?[A-Z]\b)?|(?:bis|ter)\b)"
FLAGS = re.IGNORECASE

STREET = re.compile(
    rf"(?<![^\W_])(?:(?P<before>{join_address_words(lambda words: words.before)})(?![^\W_])"
    rf"|(?P<after>{join_address_words(lambda words: words.after)})(?![^\W_])"
    rf"|(?P<weak>{join_address_words(lambda words: words.after_weak)})(?![^\W_])"
    rf"|(?!(?:{join_address_words(lambda words: words.no_streets)})(?![^\W_]))"
    rf"(?P<joined>(?:{LETTER}{{1,30}}\.?-?(?<=[.-])){{0,4}}{LETTER}{{0,40}}?"
    rf"(?:{join_address_words(lambda words: words.endings)})(?![^\W_])))",
    FLAGS,
)
NAMED = re.compile(
    rf"\.?(?:\s{{0,2}}(?:{SMALL}\s?|{PROPER}|\d{{1,2}}(?=\s{{1,3}}{LETTER}))){{1,7}}?{COMMA}(?P<house>{HOUSE})",
    FLAGS,
)
NAMED_LOWER = re.compile(rf"\.?(?:\s{{1,2}}{WORD}){{1,5}}?{COMMA}(?P<house>{HOUSE})", FLAGS)
NAME = re.compile(rf"\.?(?:\s{{0,2}}(?:{SMALL}\s{{0,2}})*{PROPER}){{1,5}}", FLAGS)
NAME_LOWER = re.compile(rf"\.?(?:\s{{0,2}}{SMALL}(?:\s|(?<='))){{0,2}}\s{{0,2}}{WORD}", FLAGS)
HOUSE_BEFORE = re.compile(rf"(?<![\w.,:/-]){NUMBER}(?:\s?(?:bis|ter))?{COMMA}\Z", FLAGS)
PROPER_BEFORE = re.compile(rf"(?<![\w.,:/-])(?P<number>{NUMBER}){COMMA}(?:{PROPER}\s{{1,3}}){{1,3}}\Z", FLAGS)
LOWER_BEFORE = re.compile(
    rf"(?<![\w.,:/-])(?P<number>{NUMBER}){MEASURES}\s{{1,3}}(?:(?!{SMALL}\b){WORD}\s{{1,3}}){{1,2}}\Z", FLAGS
)
UNIT_BEFORE = re.compile(rf"(?<![^\W_]){UNIT}{COMMA}\Z", FLAGS)
NAME_BEFORE = re.compile(rf"(?<![^\W_])(?:{PROPER}\s{{1,2}}){{1,3}}\Z", FLAGS)
FLAT_THEN_NAME = re.compile(rf"(?<![^\W_])(?P<number>{UNIT}){COMMA}(?:{WORD}\s{{1,3}}){{1,3}}\Z", FLAGS)
HOUSE_AFTER = re.compile(rf"\.?{COMMA}(?P<house>{HOUSE})", FLAGS)
MORE = re.compile(rf"(?:{SEPARATOR}{UNIT}){{1,3}}", FLAGS)
TAIL = re.compile(
    rf"{SEPARATOR}(?:{PLACE}{SEPARATOR})?{CODE}(?:{COMMA}{PLACE})?|{SEPARATOR}{PLACE}{COMMA}(?:[A-Z]{{2}}\s{{1,2}})?{CODE}",
    FLAGS,
)
LOWER_TAIL = re.compile(rf"{SEPARATOR}(?:{CODE}\s{{1,3}}{LOWER_PLACE}|(?:{WORD}\s{{1,3}}){{1,2}}{CODE})", FLAGS)
CODE_BEFORE = re.compile(r"(?<!\d)\d{4,6}\Z")
"""What was taken for a house number may be a postcode."""
PLACE_AFTER, LOWER_PLACE_AFTER = re.compile(rf"\s{{1,3}}{PLACE}", FLAGS), re.compile(rf"\s{{1,3}}{LOWER_PLACE}", FLAGS)
CODE_AND_PLACE = re.compile(rf"(?P<code>{CODE}){COMMA}{PLACE}", FLAGS)
STREET_BEFORE = re.compile(
    rf"(?<![^\W_]){PROPER}(?:(?:\s{{1,2}}|-)(?:{SMALL}\s{{1,2}})?{PROPER}){{0,3}}{COMMA}{SIGN}"
    rf"{NUMBER}(?:{SEPARATOR}{UNIT})?{SEPARATOR}\Z",
    FLAGS,
)
PLACE_AND_CODE = re.compile(
    rf"(?<![\w.,:/-]){NUMBER}{COMMA}{PROPER}(?:\s{{1,2}}{PROPER}){{0,3}}(?:{SEPARATOR}{UNIT})?"
    rf",\s{{1,3}}{PLACE}{COMMA}(?:[A-Z]{{2}}\s{{1,2}})?{CODE}",
    FLAGS,
)
CODE_WORDS = re.compile(
    rf"(?<![^\W_])(?:{fold(join_address_words(lambda words: words.postcodes)).text})(?![^\W_])", FLAGS
)
CODE_AT = re.compile(rf"(?P<code>{CODE})(?:{COMMA}{PLACE})?", FLAGS)
CODE_SOON = re.compile(rf"\s{{1,3}}{LETTER}{{1,12}}[\s:,]{{1,3}}{CODE_AT.pattern}", FLAGS)
LETTERED = re.compile(rf"(?-i:(?<![^\W_])(?:{BRITISH}|{CANADIAN})(?![^\W_]))")
