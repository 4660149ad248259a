"""Loads settings of any struct: one TOML file, the environment, arguments; every value knows its origin.

Next: config_reference.py, which describes every key."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from tidegate.brokers.settings import mask_password
from tidegate.schemas import TidegateError
from tidegate.schemas.message import END

S = TypeVar("S", bound=msgspec.Struct)
PREFIX = "TIDEGATE_"
PASSPHRASE = "_PASSPHRASE"
"""Ends the names of variables with a passphrase for a command: no settings, or they would be shown as such."""
SECRET_WORDS = frozenset({"password", "secret", "token", "seed", "key"})


class SettingsFault(msgspec.Struct, frozen=True):
    """One thing that is wrong: the key (dotted; empty for the whole file), its origin, why, what to do."""

    key: str
    origin: str
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.key}: {self.reason}" if self.key else self.reason
        return f"{text} (from {self.origin})" + (f"; {self.hint}" if self.hint else "")


class SettingsError(TidegateError, ValueError):
    """The settings cannot be used; `faults` has everything that is wrong with them, not only the first thing."""

    hint = "`tidegate config reference` prints every setting"

    def __init__(self, faults: tuple[SettingsFault, ...]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class Loaded(msgspec.Struct, Generic[S], frozen=True):
    """Settings, and for every dotted key the origin of its value."""

    settings: S
    origins: Mapping[str, str]


class SettingRow(msgspec.Struct, frozen=True):
    """One line of `tidegate config explain`."""

    key: str
    value: str
    origin: str


class _Given(msgspec.Struct, frozen=True):
    """A value before conversion; `spelling` is how its origin names the key, `is_text` that it can only be text."""

    value: Any
    origin: str
    spelling: str
    is_text: bool = False


def load(
    kind: type[S], path: Path | None = None, environ: Mapping[str, str] | None = None, /, **overrides: object
) -> Loaded[S]:
    """Read settings of `kind`: defaults, then the file, then `TIDEGATE_` variables, then overrides; the last one holds.

    A double underscore separates section and key in variables and overrides. In variables, lists are comma-separated,
    tables are written `name=value,name=value`, and empty text unsets what may be unset. An override of None was not
    given. Raises `SettingsError` with all faults.
    """
    known = dict(fields_of(kind))
    faults: list[SettingsFault] = []
    given: dict[str, _Given] = {}
    for key, one in (*_read_file(path, known, faults), *_read_environment(environ or {}), *_read_overrides(overrides)):
        if key in known:
            given[key] = one
        else:
            faults.append(_unknown_key(key, one, known))
    values: dict[str, Any] = {}
    for key, one in given.items():
        try:
            values[key] = _convert(one, known[key])
        except msgspec.ValidationError as error:
            faults.append(_bad_value(key, one, known[key], error))
    if faults:
        raise SettingsError(tuple(faults))
    origins = {key: given[key].origin if key in given else "default" for key in known}
    return Loaded(_build(kind, values, origins), origins)


def explain(loaded: Loaded[Any]) -> tuple[SettingRow, ...]:
    """Every key with its value in force and its origin; what may be secret is masked."""
    return tuple(
        SettingRow(key, show_value(key, attrgetter(key)(loaded.settings)), origin)
        for key, origin in loaded.origins.items()
    )


@cache  # a forked worker has them of its server: to find them anew writes to 2 MB of its memory
def fields_of(kind: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    """Every setting of `kind` and of its sections: the dotted key and the type."""
    return tuple(_each_field(kind))


def _each_field(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Any]]:
    hints = _hints_of(kind)
    for field in msgspec.structs.fields(kind):
        hint = hints[field.name]
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from _each_field(hint, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, hint


@cache
def _hints_of(kind: type[msgspec.Struct]) -> Mapping[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _read_file(path: Path | None, known: Mapping[str, Any], faults: list[SettingsFault]) -> list[tuple[str, _Given]]:
    if path is None:
        return []
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        faults.append(
            SettingsFault("", str(path), f"the file cannot be read: {error.strerror}", "give the path of a TOML file")
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(SettingsFault("", str(path), f"the file is not TOML: {error}"))
    else:
        return list(_flatten(tree, str(path), known))
    return []


def _flatten(
    tree: Mapping[str, Any], origin: str, known: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, _Given]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value and _origin_of(known.get(prefix + key)) is not dict:
            yield from _flatten(value, origin, known, f"{prefix}{key}.")
        elif value != {}:
            yield prefix + key, _Given(value, origin, prefix + key)


def _read_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, _Given]]:
    for name, value in sorted(environ.items()):
        if name.startswith(PREFIX) and not name.endswith(PASSPHRASE):
            key = name.removeprefix(PREFIX).lower().replace("__", ".")
            yield key, _Given(value, name, name, is_text=True)


def _read_overrides(overrides: Mapping[str, object]) -> Iterator[tuple[str, _Given]]:
    for name, value in overrides.items():
        if value is not None:
            yield name.replace("__", "."), _Given(value, "argument", name)


def _convert(given: _Given, hint: Any) -> Any:
    value = given.value
    if given.is_text and _origin_of(hint) in (tuple, dict):
        value = [part.strip() for part in value.split(",") if part.strip()]
        if _origin_of(hint) is dict:
            value = dict(_split_pair(part) for part in value)
    if given.is_text and value == "" and type(None) in typing.get_args(hint):
        value = None
    converted = msgspec.convert(value, hint, strict=not given.is_text)
    if isinstance(converted, float) and not math.isfinite(converted):
        raise msgspec.ValidationError("the number is not finite")
    return converted


def _origin_of(hint: Any) -> Any:
    """`tuple` of `tuple[str, ...]`, whatever limits it is annotated with."""
    return typing.get_origin(typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint)


def _split_pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise msgspec.ValidationError("a name without a value")
    return name.strip(), value.strip()


def _bad_value(key: str, given: _Given, hint: Any, error: Exception) -> SettingsFault:
    reason = f"{show_value(key, given.value)} is not {describe_type(hint)}"
    detail = re.search(r" - at `\$(.+)`$", str(error))
    return SettingsFault(key, given.origin, reason + (f", at {detail[1]}" if detail else ""))


def _unknown_key(key: str, given: _Given, known: Mapping[str, Any]) -> SettingsFault:
    section = any(other.startswith(f"{key}.") for other in known)
    if section and not given.is_text:
        return SettingsFault(key, given.origin, "is a section, not a value", f"write [{key}] with its keys below")
    spellings = {_spell(other, given): other for other in known}
    close = difflib.get_close_matches(given.spelling, spellings, n=1, cutoff=0.6)
    if not close:
        last = key.rsplit(".", 1)[-1]
        close = [spelling for spelling, other in spellings.items() if other.rsplit(".", 1)[-1] == last][:1]
    return SettingsFault(key, given.origin, "is not a setting", f"did you mean {close[0]}?" if close else "")


def _spell(key: str, given: _Given) -> str:
    if given.is_text:
        return PREFIX + key.replace(".", "__").upper()
    return key.replace(".", "__") if given.origin == "argument" else key


def describe_type(hint: Any) -> str:
    """The type in words: `a whole number, at least 1`."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        base, *notes = typing.get_args(hint)
        limits = [words for note in notes if isinstance(note, msgspec.Meta) for words in _limits(note)]
        return ", ".join([describe_type(base), *limits])
    if origin is Literal:
        return "one of " + ", ".join(str(choice) or "nothing" for choice in typing.get_args(hint))
    if origin is tuple:
        return f"a list, each item {describe_type(typing.get_args(hint)[0])}"
    if origin is dict:
        name, value = typing.get_args(hint)
        return f"a table, each name {describe_type(name)}, each value {describe_type(value)}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe_type(part) for part in typing.get_args(hint))
    words = {type(None): "unset", str: "text", int: "a whole number", float: "a finite number", bool: "true or false"}
    return words.get(hint, str(hint))


def _limits(meta: msgspec.Meta) -> Iterator[str]:
    if meta.ge is not None:
        yield f"at least {meta.ge:.12g}"
    if meta.gt is not None:
        yield f"above {meta.gt:.12g}"
    if meta.le is not None:
        yield f"at most {meta.le:.12g}"
    if meta.min_length:
        yield "not empty"
    if meta.pattern is not None:
        yield f"of the form {meta.pattern.replace(END, '$')}"


def show_value(key: str, value: object) -> str:
    """A value for people to read. A password in a URL is masked; a key named for a secret is masked unless it only says
    where the secret lies (`…_file`, `…_env`).
    """
    if key.rsplit(".", 1)[-1].rsplit("_", 1)[-1] in SECRET_WORDS:
        return "***" if value else "''"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(show_value(key, item) for item in value) + "]"
    if isinstance(value, str):
        return repr(mask_password(value))
    return str(value)


def _build(kind: type[msgspec.Struct], values: Mapping[str, Any], origins: Mapping[str, str], prefix: str = "") -> Any:
    """Raises `SettingsError` for values that do not go together, or that the section itself refuses."""
    fields: dict[str, Any] = {}
    for name, hint in _hints_of(kind).items():
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            fields[name] = _build(hint, values, origins, f"{prefix}{name}.")
        elif prefix + name in values:
            fields[name] = values[prefix + name]
    try:
        return kind(**fields)
    except ValueError as error:
        given = {origins[prefix + name] for name in fields if prefix + name in values}
        raise SettingsError((SettingsFault(prefix.rstrip("."), ", ".join(sorted(given)), str(error)),)) from error
