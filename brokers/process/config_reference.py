"""Describes every setting of a struct: key, type, default, unit and meaning, all read from the struct itself.

A meaning is the docstring below a field; a unit is in its type, or the end of its name. Next: config.py."""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
import typing
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

import msgspec

from tidegate.brokers.process.config import PREFIX, describe_type, fields_of, show_value

UNITS = {
    "_s": "s",
    "_ms": "ms",
    "_kbps": "kbit/s",
    "_bytes": "bytes",
    "_mib": "MiB",
    "_chars": "characters",
    "_tokens": "tokens",
    "_positions": "positions",
}
"""The unit of a number, by the end of its key."""


class SettingReference(msgspec.Struct, frozen=True, kw_only=True):
    """One setting: its dotted key as in the file, its environment variable, and what it is."""

    key: str
    variable: str
    type: str
    default: str
    unit: str
    meaning: str


def describe_settings(kind: type[msgspec.Struct]) -> tuple[SettingReference, ...]:
    """Every setting of `kind`, in the order of its fields; `meaning` is empty where a field has no docstring."""
    defaults, meanings = kind(), dict(_meanings(kind))
    return tuple(
        SettingReference(
            key=key,
            variable=PREFIX + key.replace(".", "__").upper(),
            type=describe_type(hint),
            default=show_value(key, attrgetter(key)(defaults)),
            unit=_unit_of(key, hint),
            meaning=meanings.get(key, ""),
        )
        for key, hint in fields_of(kind)
    )


def describe_sections(kind: type[msgspec.Struct]) -> dict[str, str]:
    """The sections of `kind`, in order, with what each is about."""
    sections = {field.name: type(field.default) for field in msgspec.structs.fields(kind)}
    return {
        name: " ".join((inspect.getdoc(section) or "").split())
        for name, section in sections.items()
        if issubclass(section, msgspec.Struct)
    }


def write_markdown(settings: Iterable[SettingReference], sections: dict[str, str]) -> str:
    """A table of Markdown per section; the settings outside every section come first."""
    rows = tuple(settings)
    parts = [_table(row for row in rows if "." not in row.key)]
    for name, about in sections.items():
        parts.append(f"## `[{name}]`\n\n{about}\n\n{_table(row for row in rows if row.key.startswith(f'{name}.'))}")
    return "\n\n".join(parts) + "\n"


def _unit_of(key: str, hint: Any) -> str:
    """What the type states as `extra={"unit": …}`, else what the key ends in."""
    for note in typing.get_args(hint):
        if isinstance(note, msgspec.Meta) and note.extra:
            return str(note.extra["unit"])
    return next((unit for end, unit in UNITS.items() if key.endswith(end)), "")


def _table(rows: Iterable[SettingReference]) -> str:
    lines = ["| key | type | default | unit | meaning |", "|---|---|---|---|---|"]
    for row in rows:
        cells = (f"`{row.key.partition('.')[2] or row.key}`", row.type, f"`{row.default}`", row.unit, row.meaning)
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines)


def _meanings(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, str]]:
    documented = {name: text for base in reversed(kind.__mro__) for name, text in _field_docstrings(base)}
    for field in msgspec.structs.fields(kind):
        if isinstance(field.default, msgspec.Struct):
            yield from _meanings(type(field.default), f"{prefix}{field.name}.")
        elif field.name in documented:
            yield prefix + field.name, documented[field.name]


def _field_docstrings(kind: type) -> Iterator[tuple[str, str]]:
    """The text that stands below each field in the source of the class."""
    if not issubclass(kind, msgspec.Struct) or kind is msgspec.Struct:
        return
    module = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    body = next(node.body for node in module.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    for field, text in itertools.pairwise(body):
        if not (isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)):
            continue
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            yield field.target.id, " ".join(str(text.value.value).split())
