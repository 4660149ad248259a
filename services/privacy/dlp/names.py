"""Finds names by the words around them; a name that nothing introduces is not found. Next: phones.py."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tidegate.services.privacy.dlp.finding import PersonalSpan

INTRODUCED = re.compile(
    r"\b(?:my name(?: is|'s)|my full name is|mein name (?:ist|lautet)|ich hei(?:ß|ss)e|je m'appelle|mon nom est|"
    r"me llamo|mi nombre es|(?:full |first |last |sur|family )?name ?:|(?:vor|nach|familien)name ?:|(?:pré)?nom ?:|"
    r"nombre ?:|apellidos? ?:|account holder ?:|kontoinhaber(?:in)? ?:|"
    r"titulaire ?:|titular ?:)\s{0,3}",
    re.IGNORECASE,
)
PRESENTED = re.compile(
    r"\b(?:i am|i'm|this is|here is|ich bin|hier ist|hier spricht|je suis|ici|soy|habla|on behalf of|im namen von|"
    r"au nom de|en nombre de|in the name of)\s{1,3}",
    re.IGNORECASE,
)
RELATED = re.compile(
    r"\b(?:name is|se llama|s'appelle|(?:my|mein|meine|mon|ma|mi) "
    r"(?:son|daughter|wife|husband|mother|mum|mom|father|dad|brother|sister|friend|partner|boss|sohn|tochter|mann|mutter|"
    r"vater|bruder|schwester|freund(?:in)?|partner(?:in)?|chef(?:in)?|fils|fille|femme|mari|mère|père|frère|soeur|sœur|"
    r"hijo|hija|mujer|marido|esposa|esposo|madre|padre|hermano|hermana)(?:,| heißt| heisst| is)?)\s{1,3}",
    re.IGNORECASE,
)
TITLED = re.compile(
    r"\b(?:Dr|Prof|Mr|Mrs|Ms|Miss|Mister|Herrn?|Frau|Mme|Mlle|Monsieur|Madame|Señora?|Sra?|Doña|Don)\b\.?\s{1,3}"
)
SIGNED = re.compile(
    r"\b(?:(?:regards|sincerely|grüßen?|grüsse|gruß|vg|lg|mfg|cordialement|salutations|saludos|atentamente)[,.!\s]|"
    r"(?:yours|cheers|thanks|thank you|bien à vous|merci|gracias)\s{0,2}[,.!\n])\s{0,4}",
    re.IGNORECASE,
)
WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|['-](?=[^\W\d_])){0,30}")
GAP = re.compile(r"\.?[ \t]{1,2}|\.(?=[^\W\d_])")
LINE_END = re.compile(r"[ \t.!]{0,3}(?:\n|$)")
_PARTICLES = "von van de der den del della di da du dos das la le los las el al bin ibn ben zu zum zur ten"
_NOT_A_NAME = """
    a an and are at by but can correct different for from has have how i if in incorrect is like missing misspelled my
    need not of on or please printed said shown so spelled still that the there to want war was what when where which
    who why will with would written wrong you changed
    aber als am anders auch auf aus bei bin bitte das dass dem den der die ein eine einer falsch für geändert gesperrt
    hat ich im ist mal mit nicht noch oder richtig sagt sind und war wie
    aus avec dans en est et il je le la les mais pas pour que une voudrais
    como con el es la necesito no pero por puedo que quiero y
"""
PARTICLES = frozenset(_PARTICLES.split())
NOT_A_NAME = frozenset(_NOT_A_NAME.split())
MOST_WORDS = 5


INTRODUCED_GATE = ("name", "heiß", "heiss", "appelle", "nom", "llamo", "apellido", "holder", "inhaber", "titul")
_SIGNED = "regard sincere yours cheers thank gr vg lg mfg cordial salu bien merci atent gracias"
SIGNED_GATE = tuple(_SIGNED.split())


def find_names(text: str) -> Iterator[PersonalSpan]:
    """Names after an introduction, a title or a closing formula, in English, German, French and Spanish."""
    lower = text.lower()
    if any(word in lower for word in INTRODUCED_GATE):
        yield from _names_after(INTRODUCED, text, any_case=True)
    yield from _names_after(PRESENTED, text, least=2)
    yield from _names_after(TITLED, text)
    yield from _names_after(RELATED, text)
    if any(word in lower for word in SIGNED_GATE):
        yield from (span for span in _names_after(SIGNED, text) if LINE_END.match(text, span.end))


def _names_after(opening: re.Pattern[str], text: str, least: int = 1, any_case: bool = False) -> Iterator[PersonalSpan]:
    for found in opening.finditer(text):
        end = _name_end(text, found.end(), least, any_case)
        if end is not None:
            yield PersonalSpan("NAME", found.end(), end)


def _name_end(text: str, start: int, least: int, any_case: bool) -> int | None:
    """Where the name that starts here ends; None when none does, or one of fewer than `least` words."""
    offset, end, count = start, None, 0
    is_capital = True
    while count < MOST_WORDS:
        word = WORD.match(text, offset)
        if word is None:
            break
        letters = word.group()
        is_particle = letters in PARTICLES
        if count == 0:
            is_capital = _is_proper(letters)
        if (
            not _is_proper(letters)
            and not is_particle
            and (is_capital or not any_case or letters.lower() in NOT_A_NAME)
        ):
            break
        count += 1
        end = end if is_particle else word.end()
        gap = GAP.match(text, word.end())
        if gap is None or (not is_capital and count == 2) or _ends_sentence(letters, gap.group()):
            break
        offset = gap.end()
    return end if count >= least else None


def _is_proper(letters: str) -> bool:
    return letters[0].isupper() or (letters[1:2] == "'" and letters[2:3].isupper())


def _ends_sentence(letters: str, gap: str) -> bool:
    """A dot ends the sentence unless it stands after an initial or a title."""
    return "." in gap and len(letters) > 3
