"""What a document holds and nobody sees who opens it: text that is there to be quoted, or to instruct whoever reads on.

Next: page_styles.py, style sheets; word_runs.py; html.py, parts.py."""

from __future__ import annotations

import re

CHARACTERS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufff9-\ufffb\U000e0000-\U000e0fff]")
"""They show nothing, and turn round or carry on what stands beside them: marks of direction, tags (UAX 9, UTR 51)."""
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
LONGEST_COMMENTED = 4000
"""Characters: in a longer one comments that do not end would take the square of its length."""
NOTHING = re.compile(r"0*(?:\.0+)?(?:px|pt|em|rem|ex|%|vh|vw)?|0+(?:px|pt|em|rem|%)?")
LEAST_SIZE = re.compile(r"[01](?:\.\d+)?(?:px|pt)|0?\.[01]\d*(?:em|rem)|[0-9](?:\.\d+)?%")
FAR_AWAY = re.compile(r"-\d{4,}(?:px|pt)?|-\d{3,}(?:em|rem|vw|vh|%)|-[1-9]\d{2,}px")
CLIPPED = re.compile(
    r"rect\(\s*[01](?:px)?[\s,]+[01](?:px)?[\s,]+[01](?:px)?[\s,]+[01](?:px)?\s*\)|inset\(\s*(?:50|100)%.*"
)
HIDING = {
    "display": re.compile("none"),
    "visibility": re.compile("hidden|collapse"),
    "content-visibility": re.compile("hidden"),
    "opacity": re.compile(r"0(?:\.0\d*)?|\.0\d*|0%"),
    "color": re.compile(r"transparent|rgba\(.*,\s*0(?:\.0+)?\s*\)|#[0-9a-f]{3}0|#[0-9a-f]{6}00"),
    "font-size": re.compile(f"{NOTHING.pattern}|{LEAST_SIZE.pattern}"),
    "left": FAR_AWAY,
    "right": FAR_AWAY,
    "top": FAR_AWAY,
    "margin-left": FAR_AWAY,
    "text-indent": FAR_AWAY,
    "clip": CLIPPED,
    "clip-path": CLIPPED,
    "transform": re.compile(r"scale[xy]?\(0.*\)"),
}
SWITCHES = ("display", "visibility")
CLOSED = ("height", "max-height", "width", "max-width")
"""Of no height or width nothing is seen where what overflows is hidden."""


def without_unseen(text: str) -> str:
    """The text without characters that nobody sees."""
    return text if text.isascii() else CHARACTERS.sub("", text)


def is_switched_off(style: str) -> bool:
    """Whether the declarations of a `style` attribute (CSS) take out what they are of, as pages do with their menus."""
    return any(name in SWITCHES for name in hiding_properties(style))


def is_hiding(style: str) -> bool:
    """Whether they hide it, in whatever way."""
    return bool(hiding_properties(style))


def hiding_properties(style: str) -> set[str]:
    """The properties by which they do."""
    found = declared(style)
    hides = {name for name, pattern in HIDING.items() if name in found and pattern.fullmatch(found[name])}
    if "text" in f"{found.get('background-clip', '')}{found.get('-webkit-background-clip', '')}":
        hides.discard("color")  # the letters are cut out of the background
    overflow = f"{found.get('overflow', '')} {found.get('overflow-x', '')} {found.get('overflow-y', '')}"
    if "hidden" in overflow or "clip" in overflow:
        hides |= {name for name in CLOSED if found.get(name) and NOTHING.fullmatch(found[name])}
    return hides


def declared(style: str) -> dict[str, str]:
    """What declarations say, by property."""
    plain = COMMENT.sub("", style) if len(style) < LONGEST_COMMENTED else style
    parts = (each.partition(":") for each in plain.lower().split(";"))
    return {name.strip(): value.partition("!")[0].strip() for name, _, value in parts}
