"""Finds national numbers by their check digits, whatever language the text is in; next: check_digits.py, context.py.

What has a weak check (the Dutch BSN, the Portuguese NIF) or none counts only after its words, in context.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tidegate.services.privacy.dlp import check_digits as check
from tidegate.services.privacy.dlp.finding import PersonalSpan

RUN = re.compile(r"\d(?<![^\W_].)(?:[ ./+-]?\d){8,}(?![^\W_])")
GROUP = re.compile(r"\d+")
DigitsCheck = Callable[[str], bool]
LAYOUTS: dict[tuple[int, ...], tuple[DigitsCheck, ...]] = {
    (3, 4, 4, 2): (check.is_swiss,),
    (13,): (check.is_swiss, check.is_french_tax_number),
    (2, 2, 3, 3, 3): (check.is_french_tax_number,),
    (11,): (check.is_german_tax_id, check.is_polish, check.is_brazilian, check.is_belgian),
    (2, 3, 3, 3): (check.is_german_tax_id,),
    (3, 3, 3, 2): (check.is_german_tax_id, check.is_brazilian),
    (9, 2): (check.is_brazilian,),
    (6, 5): (check.is_polish,),
    (6, 3, 2): (check.is_belgian,),
    (2, 2, 2, 3, 2): (check.is_belgian,),
    (10,): (check.is_austrian,),
    (4, 6): (check.is_austrian,),
    (4, 2, 2, 2): (check.is_austrian,),
    (6, 4): (check.is_swedish,),
    (8, 4): (check.is_swedish,),
    (12,): (check.is_swedish,),
    (4, 4, 4): (check.is_indian,),
    (18,): (check.is_chinese,),
    (6, 8, 4): (check.is_chinese,),
}
"""How many digits stand together, and what a number that is written so may be."""
MOST_GROUPS = 5
WHOLE: dict[int, tuple[DigitsCheck, ...]] = {
    sum(sizes): tuple({each for layout, checks in LAYOUTS.items() if sum(layout) == sum(sizes) for each in checks})
    for sizes in LAYOUTS
}
"""What a run that stands alone may be, however it is grouped; by how many digits it has."""

# A first character that is asked for before what may not stand before it lets `re` skip to where one is.
LETTERED: tuple[tuple[str, re.Pattern[str], DigitsCheck], ...] = tuple(
    (kind, re.compile(rf"{shape}(?![^\W_])", re.IGNORECASE), verdict)
    for kind, shape, verdict in (
        ("NATIONALID", r"[XYZ\d](?<![^\W_].)(?:[ ./-]?\d){7}[ ./-]?[A-Z]", check.is_spanish),
        ("NATIONALID", r"[12](?<![^\W_].)[ ./-]?\d\d[ ./-]?\d\d[ ./-]?\d[\dAB](?:[ ./-]?\d){8}", check.is_french),
        (
            "NATIONALID",
            r"\d(?<![^\W_].)\d[ ./-]?\d{6}[ ./-]?[A-Z][ ./-]?\d{2}[ ./-]?\d",
            check.is_german_pension_number,
        ),
        ("NATIONALID", r"\d(?<![^\W_].)\d{5}[ ./-]?\d{8}[ ./-]?\d{3}[ ./-]?X", check.is_chinese),
    )
)
ITALIAN = re.compile(
    r"[A-Z](?<![^\W_].)[A-Z]{2}[ ./-]?[A-Z]{3}[ ./-]?[\dLMNP-V]{2}[ ./-]?[A-EHLMPR-T][ ./-]?[\dLMNP-V]{2}[ ./-]?"
    r"[A-Z][ ./-]?[\dLMNP-V]{3}[ ./-]?[A-Z](?![^\W_])"
    r"|[a-z](?<![^\W_].)[a-z]{5}[\dl-v]{2}[a-t][\dl-v]{2}[a-z][\dl-v]{3}[a-z](?![^\W_])"
)
"""With the letters that stand for digits where two persons would have one code; in small letters without blanks."""
NINO = re.compile(
    r"[A-CEGHJ-PR-TW-Z](?<!\w.)(?<!(?=BG|GB|NK|KN|TN|NT|ZZ).)[A-CEGHJ-NPR-TW-Z]"
    r"[ ./-]?\d{2}[ ./-]?\d{2}[ ./-]?\d{2}[ ./-]?[A-D](?!\w)",
    re.IGNORECASE,
)
PAN = re.compile(r"[A-Z](?<!\w.)[A-Z]{2}[PH][A-Z]\d{4}[A-Z](?!\w)")
"""India's tax number of a person or a family: a shape, no check digit; in capitals."""
SSN = re.compile(
    r"\d(?<![\d-].)(?:(?<!(?=000|666|9\d\d).)\d\d([ ./-])(?!00)\d{2}\1(?!0000)\d{4}"
    r"|(?<=9)\d\d([ ./-])(?:5\d|6[0-5]|7\d|8[0-8]|9[0-24-9])\2\d{4})(?![\d-])"
)
"""The United States' social security number, and the tax number (ITIN) of whoever has none."""


def find_national_ids(text: str) -> Iterator[PersonalSpan]:
    """Numbers of AT, BE, BR, CH, CN, DE, ES, FR, IN, IT, PL and SE by their check digits; of GB, IN and US by shape."""
    for run in RUN.finditer(text):
        yield from _in_run(text, run.start(), run.end())
    for kind, shape, verdict in LETTERED:
        for found in shape.finditer(text):
            if verdict(_compact(found.group())):
                yield PersonalSpan(kind, found.start(), found.end())
    for found in ITALIAN.finditer(text):
        if check.is_italian(_compact(found.group())):
            yield PersonalSpan("NATIONALID", found.start(), found.end())
    for shape in (NINO, PAN):
        yield from (PersonalSpan("NATIONALID", found.start(), found.end()) for found in shape.finditer(text))
    yield from (PersonalSpan("SSN", found.start(), found.end()) for found in SSN.finditer(text))


def _compact(written: str) -> str:
    return "".join(filter(str.isalnum, written)).upper()


def _in_run(text: str, start: int, end: int) -> Iterator[PersonalSpan]:
    """A stretch of groups in a layout that is known, or the whole run in any."""
    groups = list(GROUP.finditer(text, start, end))
    whole = "".join(group.group() for group in groups)
    if any(verdict(whole) for verdict in WHOLE.get(len(whole), ())):
        yield PersonalSpan("NATIONALID", start, end)
        return
    sizes = [group.end() - group.start() for group in groups]
    for first in range(len(groups)):
        for last in range(first, min(len(groups), first + MOST_GROUPS)):
            checks = LAYOUTS.get(tuple(sizes[first : last + 1]))
            if checks is None:
                continue
            digits = "".join(group.group() for group in groups[first : last + 1])
            if any(verdict(digits) for verdict in checks):
                yield PersonalSpan("NATIONALID", groups[first].start(), groups[last].end())
