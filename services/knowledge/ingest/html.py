"""HTML as parts, without what surrounds its content. Promises that nothing in it is executed. Next: parts.py.

Dropped: scripts, styles, what is hidden, navigation, banners, page headers and footers, blocks of nothing but links.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from tidegate.services.knowledge.ingest.html_tables import BLOCKS, DEEPEST, STRUCK_OUT, read_table, read_words
from tidegate.services.knowledge.ingest.page_styles import PageStyles
from tidegate.services.knowledge.ingest.parts import (
    FileNote,
    HeadingPart,
    IngestedText,
    ItemPart,
    Part,
    TextPart,
    tidy,
    write_markdown,
)
from tidegate.services.knowledge.ingest.text import decode_text
from tidegate.services.knowledge.ingest.unseen import is_hiding, is_switched_off

_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w-]+)""", re.IGNORECASE)
_DROPPED = (
    "script, style, noscript, template, svg, canvas, iframe, object, embed, math, head, dialog, form[role=search], "
    "nav, aside, button, select, input, textarea, audio, video, map, menu, [hidden], [aria-hidden=true i], "
    "[role=navigation], [role=banner], [role=contentinfo], [role=search], [role=dialog], [role=alertdialog], "
    "[role=complementary], [role=menu], [role=menubar]"
)
_SURROUNDINGS = re.compile(
    r"(?:^|[\s_-])(?:cookies?|consent|gdpr|breadcrumbs?|navbar|navigation|nav|menu|sidebar|skip|share|sharing|social|"
    r"newsletter|popup|modal|advert(?:isement)?|ads?|related|toolbar|pagination|site-?(?:header|footer))(?:[\s_-]|$)",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SPACE = re.compile(r"\s+")
_CONTENT = ("main", "[role=main]", "article")
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LISTS = ("ul", "ol")
_MOST_LINKED = 0.8


def read_html(data: bytes) -> IngestedText:
    """The content of an HTML page as Markdown, with its title and the date that it states."""
    declared = _CHARSET.search(data[:4096])
    tree = LexborHTMLParser(decode_text(data, declared[1].decode() if declared else ""))
    named = tree.css_first("title")
    title = re.split(r"\s+[|–—·]\s+", named.text() if named else "")[0]
    date = _find_date(tree)
    styles = PageStyles(tree)
    for node in tree.css(_DROPPED):
        if node.tag not in ("body", "html"):
            node.decompose()
    hidden = _drop_hidden(tree, styles)
    _drop_surroundings(tree)
    notes = (FileNote(f"text that the page hides by its style is not read, in {hidden} places"),) if hidden else ()
    return IngestedText(text=_write_content(_find_content(tree)), title=tidy(title), date=date, notes=notes)


def convert_html(html: str) -> IngestedText:
    """HTML that is all content, as Markdown."""
    return IngestedText(text=_write_content(LexborHTMLParser(html).body))


def _write_content(node: LexborNode | None) -> str:
    markdown, _ = write_markdown(_merge_repeated(_HtmlParts(node).read()))
    return markdown


def _find_date(tree: LexborHTMLParser) -> str:
    """The day on which the page says that it was last changed."""
    for name in ("article:modified_time", "dcterms.modified", "last-modified", "article:published_time", "date"):
        node = tree.css_first(f"meta[property='{name}' i], meta[name='{name}' i]")
        if node and (found := re.match(r"\d{4}-\d\d-\d\d", node.attributes.get("content") or "")):
            return found[0]
    node = tree.css_first("time[datetime]")
    found = re.match(r"\d{4}-\d\d-\d\d", (node.attributes.get("datetime") or "") if node else "")
    return found[0] if found else ""


def _drop_hidden(tree: LexborHTMLParser, styles: PageStyles) -> int:
    """Take out what is styled so that nobody sees it; how many of them had words and were not just switched off."""
    count = 0
    own = {node.mem_id: node for node in tree.css("[style]") if is_hiding(node.attributes.get("style") or "")}
    ruled = {node.mem_id: node for node in styles.hidden(tree)}
    for node in reversed(list(tree.css("*")) if own or ruled else []):  # from within: what is inside goes along
        if node.mem_id in (own.keys() | ruled.keys()) and node.tag not in ("body", "html"):
            is_switched = node.mem_id in own and is_switched_off(node.attributes.get("style") or "")
            count += not is_switched and bool(node.text(strip=True))
            node.decompose()
    return count


def _drop_surroundings(tree: LexborHTMLParser) -> None:
    """Banners and menus that only their names give away, and page headers and footers outside of the content."""
    for node in tree.css("div, section, ul, ol, p, span, header, footer, table"):
        named = _CAMEL.sub("-", f"{node.attributes.get('id') or ''} {node.attributes.get('class') or ''}")
        is_named = _SURROUNDINGS.search(named) is not None and not node.css_first("h1, main, article")
        is_frame = node.tag in ("header", "footer") and not _is_inside(node, ("main", "article", "section"))
        if is_named or (is_frame and not node.css_first("h1, main, article")) or _is_links_only(node):
            node.decompose()


def _is_inside(node: LexborNode, tags: Iterable[str]) -> bool:
    parent = node.parent
    while parent is not None:
        if (parent.tag or "") in tags:
            return True
        parent = parent.parent
    return False


def _is_links_only(node: LexborNode) -> bool:
    """Whether a list or a block is a menu: three links or more, and hardly a word beside them."""
    if node.tag not in ("ul", "ol", "div"):
        return False
    links = node.css("a")
    if len(links) < 3 or node.css_first("h1, h2, p, table"):
        return False
    linked = sum(len(link.text(strip=True)) for link in links)
    return linked > _MOST_LINKED * max(1, len(node.text(strip=True))) and linked < 60 * len(links)


def _find_content(tree: LexborHTMLParser) -> LexborNode | None:
    """The element that holds the content, where the page names one that holds most of its text; else the body."""
    body = tree.body
    if body is None:
        return None
    for selector in _CONTENT:
        found = tree.css(selector)
        if len(found) == 1 and len(found[0].text(strip=True)) * 2 > len(body.text(strip=True)):
            return found[0]
    return body


class _HtmlParts:
    """Goes through the elements, and turns the text between two blocks into one part."""

    def __init__(self, root: LexborNode | None) -> None:
        self._root = root
        self._words: list[str] = []

    def read(self) -> Iterator[Part]:
        if self._root is not None:
            yield from self._read_children(self._root, depth=0)
            yield from self._flush()

    def _read_children(self, node: LexborNode, depth: int) -> Iterator[Part]:
        for child in node.iter(include_text=True):
            yield from self._read_node(child, depth)

    def _read_node(self, node: LexborNode, depth: int) -> Iterator[Part]:
        if node.tag == "-text":
            self._words.append(_SPACE.sub(" ", node.text()))
        elif node.tag == "br":
            self._words.append("\n")
        elif node.tag in STRUCK_OUT:
            return
        elif depth >= DEEPEST:
            self._words.append(_SPACE.sub(" ", node.text(separator=" ")))
        elif node.tag in BLOCKS:
            yield from self._flush()
            yield from self._read_block(node, depth)
            yield from self._flush()
        else:
            yield from self._read_children(node, depth + 1)

    def _read_block(self, node: LexborNode, depth: int) -> Iterator[Part]:
        tag = node.tag or ""
        if tag in _HEADINGS:
            yield HeadingPart(_HEADINGS[tag], read_words(node))
        elif tag in ("summary", "dt", "legend"):
            yield HeadingPart(6, read_words(node))
        elif tag == "table":
            yield from self._read_table(node, depth)
        elif tag in _LISTS:
            yield from self._read_list(node, depth, 0)
        else:
            yield from self._read_children(node, depth + 1)

    def _read_table(self, node: LexborNode, depth: int) -> Iterator[Part]:
        table = read_table(node)
        if table is None:
            yield from self._read_children(node, depth + 1)
            return
        caption = node.css_first("caption")
        if caption is not None:
            yield TextPart(read_words(caption))
        yield table

    def _read_list(self, node: LexborNode, depth: int, level: int) -> Iterator[Part]:
        start = node.attributes.get("start") or "1"
        number = int(start) if start.isdecimal() and len(start) < 9 else 1
        for item in node.iter():
            if item.tag in _LISTS:
                yield from self._read_list(item, depth + 1, level + 1)
                continue
            own, nested = self._read_item(item, depth + 1, level)
            texts = [each.text for each in own if isinstance(each, TextPart)]
            yield ItemPart(" ".join(texts), number if node.tag == "ol" else 0, level)
            yield from (each for each in own if not isinstance(each, TextPart))
            yield from nested
            number += 1

    def _read_item(self, item: LexborNode, depth: int, level: int) -> tuple[list[Part], list[Part]]:
        """What an item holds, and the items of the lists inside it."""
        own: list[Part] = []
        nested: list[Part] = []
        for child in item.iter(include_text=True):
            if child.tag in _LISTS and depth < DEEPEST:
                own.extend(self._flush())
                nested.extend(self._read_list(child, depth + 1, level + 1))
            else:
                own.extend(self._read_node(child, depth))
        own.extend(self._flush())
        return own, nested

    def _flush(self) -> Iterator[TextPart]:
        """The text since the last block; a line break in it parts two paragraphs only where a line is empty."""
        text = "".join(self._words)
        self._words = []
        for paragraph in re.split(r"\n *\n\s*", text):
            if words := tidy(paragraph):
                yield TextPart(words)


def _merge_repeated(parts: Iterable[Part]) -> Iterator[Part]:
    """Without what comes twice in a row, as a heading and its copy for another device."""
    previous: Part | None = None
    for part in parts:
        if part != previous:
            yield part
        previous = part
