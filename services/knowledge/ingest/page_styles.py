"""What an HTML page hides by its own style sheets, as far as the page alone says so.

A page that hides an answer until it is clicked (an accordion, a tab) says in a sheet or by a script how it is shown:
its text is there to be read. What no rule and no script shows again is not. Whoever adds such a rule has hidden text
read; a document that can say anything is judged by who may publish. Next: unseen.py, what hides; html.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

import msgspec
from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from tidegate.services.knowledge.ingest.unseen import CLOSED, HIDING, SWITCHES, declared, hiding_properties

MOST_STYLES = 500_000
"""Characters of style sheets: of more, a page is read as if it had none."""
MOST_RULES, MOST_HIDING, MOST_MATCHES = 10_000, 500, 20_000
"""Selectors, those of them that hide something, and elements that these name: of more, the first."""
DEEPEST_RULE, MOST_NAMES = 8, 50
ALL_HIDING = frozenset((*HIDING, *CLOSED))
SCRIPTED = frozenset((*SWITCHES, *CLOSED, "opacity", "transform", "content-visibility"))
"""By what scripts show what was hidden, and hardly by any other."""
RESTORABLE = frozenset(("color", "font-size", "visibility"))
"""What an element may have of its own inside one that hides by it."""
_MARK = re.compile(r"[{};]")
_SCREEN = re.compile(r"@media\s+(?:only\s+)?(?:screen|all)", re.IGNORECASE)
_NAMED = re.compile(r"[.#][\w-]+")
_STATE = re.compile(r":(?!:)|\[")
_WHITE = re.compile(r"white|#f[0-9a-f]f[0-9a-f]f[0-9a-f]|#fff|rgba?\(\s*25[0-5],\s*25[0-5],\s*25[0-5](?:,\s*1)?\s*\)")
_GROUND = re.compile(r"background|bgcolor|stylesheet|<svg|<canvas", re.IGNORECASE)


class StyleRule(msgspec.Struct, frozen=True):
    """A rule that hides what its selector names by these properties, or shows it."""

    selector: str
    properties: frozenset[str]


class PageStyles:
    """The style sheets in a page, read before they are taken out of it."""

    def __init__(self, tree: LexborHTMLParser) -> None:
        sheets = "\n".join(node.text() for node in tree.css("style"))
        self._scripts = "\n".join(node.text() for node in tree.css("script"))
        self._is_scripted_elsewhere = tree.css_first("script[src]") is not None
        self._has_no_ground = _GROUND.search(tree.html or "") is None
        self._hiding, self._restoring = list[StyleRule](), list[StyleRule]()
        self._asked: dict[str, bool] = {}
        self._shown: dict[str, set[str]] = {}
        """By class and id, the properties that show what has that name."""
        for selector, style in islice(_rules(sheets), MOST_RULES) if len(sheets) <= MOST_STYLES else ():
            self._take(selector, style)

    def hidden(self, tree: LexborHTMLParser) -> list[LexborNode]:
        """The elements that are hidden and that nothing in the page shows, and those in white on a page that has no
        other ground."""
        restored = [(rule.properties, _select(tree, rule.selector)) for rule in self._restoring]
        kept = {
            name: {node.mem_id for names, found in restored if name in names for node in found} for name in RESTORABLE
        }
        found: dict[int, LexborNode] = {}
        for node, hides in islice(self._named(tree), MOST_MATCHES):
            if node.mem_id not in found and not self._is_shown(node, hides):
                alive = set[int]().union(*(kept[name] for name in hides & RESTORABLE))
                if not alive or not any(each.mem_id in alive for each in node.css("*") if each.mem_id != node.mem_id):
                    found[node.mem_id] = node
        for node in tree.css("[style], font[color]") if self._has_no_ground else ():
            colour = declared(node.attributes.get("style") or "").get("color") or node.attributes.get("color") or ""
            if _WHITE.fullmatch(colour.strip().lower()):
                found[node.mem_id] = node
        return list(found.values())

    def _take(self, selector: str, style: str) -> None:
        hides = hiding_properties(style)
        shows = declared(style).keys() & ALL_HIDING - hides
        if hides and len(self._hiding) < MOST_HIDING and not _STATE.search(selector):
            self._hiding.append(StyleRule(selector, frozenset(hides)))
        for name in _last_names(selector) if shows else ():
            self._shown.setdefault(name, set()).update(shows)
        if shows & RESTORABLE and len(self._restoring) < MOST_HIDING:
            self._restoring.append(StyleRule(selector, frozenset(shows)))

    def _named(self, tree: LexborHTMLParser) -> Iterator[tuple[LexborNode, frozenset[str]]]:
        for rule in self._hiding:
            for node in _select(tree, rule.selector):
                yield node, rule.properties

    def _is_shown(self, node: LexborNode, hides: frozenset[str]) -> bool:
        """Whether a rule gives one of the properties another value, for an element that is named as this one is, or its
        own style does, or a script names it, or may: one that is not in the page."""
        own = node.attributes.get("style") or ""
        if hides & (declared(own).keys() - hiding_properties(own)):
            return True
        if self._is_scripted_elsewhere and hides & SCRIPTED:
            return True
        names = [f".{each}" for each in (node.attributes.get("class") or "").split()][:MOST_NAMES]
        names += [f"#{node.attributes['id']}"] if node.attributes.get("id") else []
        return any(hides & self._shown.get(name, set()) or self._is_scripted(name[1:]) for name in names)

    def _is_scripted(self, name: str) -> bool:
        if name not in self._asked:
            self._asked[name] = name in self._scripts
        return self._asked[name]


def _rules(sheets: str) -> Iterator[tuple[str, str]]:
    """Each selector with the declarations that hold for it on a screen."""
    plain = _without_comments(sheets.replace("<!--", "").replace("-->", ""))
    around: list[str] = []
    begin = 0
    for mark in _MARK.finditer(plain):
        text = plain[begin : mark.start()].strip()
        if mark[0] == "{":
            around.append(text)
            if len(around) > DEEPEST_RULE:
                return
        elif mark[0] == "}" and around:
            selectors = around.pop()
            if not selectors.startswith("@") and all(map(_SCREEN.fullmatch, around)):
                yield from ((each.strip(), text) for each in selectors.split(",") if each.strip())
        elif mark[0] == ";" and around and not around[-1].startswith("@"):
            continue  # between two declarations
        begin = mark.end()


def _without_comments(sheets: str) -> str:
    parts, begin = list[str](), 0
    while (opens := sheets.find("/*", begin)) >= 0:
        parts.append(sheets[begin:opens])
        closes = sheets.find("*/", opens + 2)
        begin = closes + 2 if closes >= 0 else len(sheets)
    return "".join((*parts, sheets[begin:]))


def _last_names(selector: str) -> set[str]:
    """The classes and ids by which a selector names what it is about: those of its last part."""
    return set(_NAMED.findall(re.split(r"[\s>+~]+", selector.strip())[-1]))


def _select(tree: LexborHTMLParser, selector: str) -> list[LexborNode]:
    try:
        return list(tree.css(selector))
    except SelectolaxError:  # no selector that is understood
        return []
