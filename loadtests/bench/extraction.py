"""How well a model fills a schema from texts that it was never trained on: validity, fields, milliseconds."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec

from loadtests.bench.measure import quantile
from tidegate.infra.models.data import generator
from tidegate.infra.models.data.extraction import Record
from tidegate.services.llm.json_extraction import fill_schema
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.site_model import SiteModel

TEXTS = 500


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """One text: what was output of it, whether the schema accepts that, and which fields are true."""

    output: str
    is_valid: bool
    right: dict[str, bool]
    took_ms: float


def schema_of(fields: str) -> dict[str, Any]:
    """The JSON schema of `name:type name:type?`; what may be missing from the text is null then, never left out."""
    properties = {}
    for field in fields_in(fields):
        name, _, kind = field.partition(":")
        properties[name] = part_of(kind.removesuffix("?"), nullable=kind.endswith("?"))
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def fields_in(fields: str) -> Iterator[str]:
    """The fields one by one; the options of an enum may hold spaces."""
    rest = fields
    while rest:
        name, _, kind = rest.partition(":")
        end = kind.index(")") + 1 if kind.startswith("enum(") else 0
        length = len(name) + 1 + end
        space = rest.find(" ", length)
        field, rest = (rest, "") if space < 0 else (rest[:space], rest[space + 1 :])
        yield field


def part_of(kind: str, *, nullable: bool) -> dict[str, Any]:
    """The schema of one field."""
    if kind.startswith("enum("):
        options: list[str | None] = [*kind[5:-1].split("|")]
        return {"enum": [*options, None] if nullable else options}
    named = "string" if kind == "date" else kind
    part: dict[str, Any] = {"type": [named, "null"] if nullable else named}
    return part | ({"format": "date"} if kind == "date" else {})


def judged(record: Record, schema: dict[str, Any], output: str, took_ms: float) -> Filled:
    """Compare with the truth, field by field; a number is right whatever its spelling, a text only to the letter."""
    try:
        found = json.loads(output)
    except ValueError:
        found = None
    validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    is_valid = found is not None and bool(validator.is_valid(found))
    fields = found if isinstance(found, dict) else {}
    right = {name: name in fields and same(fields[name], value) for name, value in record.truth.items()}
    return Filled(output=output, is_valid=is_valid, right=right, took_ms=took_ms)


def same(found: Any, true: Any) -> bool:
    """Whether two JSON values are equal; true is not 1."""
    return isinstance(found, bool) == isinstance(true, bool) and bool(found == true)


def measure(model: SiteModel, records: Iterable[Record]) -> Iterator[tuple[Record, Filled]]:
    """Fill the schema of every record, one after the other, as the drafter does."""
    for record in records:
        schema = schema_of(record.schema)
        began_s = time.perf_counter()
        output = fill_schema(model, record.text, json.dumps(schema)).text
        took_ms = (time.perf_counter() - began_s) * 1e3
        yield record, judged(record, schema, output, took_ms)


def kinds_of(record: Record) -> dict[str, str]:
    """The type of each field, options left out."""
    pairs = (field.partition(":")[::2] for field in fields_in(record.schema))
    return {name: "enum" if kind.startswith("enum(") else kind.removesuffix("?") for name, kind in pairs}


def table_of(done: list[tuple[Record, Filled]]) -> str:
    """Counts by field and by type, and the times."""
    by_field: dict[tuple[str, str], list[bool]] = {}
    for record, each in done:
        kinds = kinds_of(record)
        for name, is_right in each.right.items():
            by_field.setdefault((kinds[name], name), []).append(is_right)
    lines = [f"{'type':<10}{'field':<24}{'right':>12}{'share':>8}"]
    for kind in sorted({kind for kind, _ in by_field}):
        inside = {name: values for (each, name), values in sorted(by_field.items()) if each == kind}
        lines += [row(kind, name, values) for name, values in inside.items()]
        lines.append(row(kind, "(all)", [value for values in inside.values() for value in values]))
    everything = [value for values in by_field.values() for value in values]
    whole = [all(each.right.values()) for _, each in done]
    valid = sum(each.is_valid for _, each in done)
    times = [each.took_ms for _, each in done]
    return "\n".join(
        (
            *lines,
            row("", "(every field)", everything),
            row("", "(whole objects)", whole),
            f"valid by the schema: {valid} of {len(done)}",
            f"milliseconds: p50 {quantile(times, 0.5):.1f}, p95 {quantile(times, 0.95):.1f}",
        )
    )


def row(kind: str, name: str, values: list[bool]) -> str:
    """One line of the table."""
    return f"{kind:<10}{name:<24}{sum(values):>5} of {len(values):<4}{sum(values) / len(values):>7.1%}"


def main() -> int:
    """0 when every object is valid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path(".models/lm/draft"))
    parser.add_argument("--texts", type=int, default=TEXTS)
    parser.add_argument("--failures", action="store_true", help="print every object that is not wholly right")
    given = parser.parse_args()
    done = []
    for record, each in measure(SiteModel(CausalLM(given.model)), generator.heldout_records(given.texts)):
        done.append((record, each))
        if given.failures and not (each.is_valid and all(each.right.values())):
            print(f"{record.schema}\n  {record.text!r}\n  output {each.output}\n  true {json.dumps(record.truth)}")
    print(table_of(done))
    return 0 if all(each.is_valid for _, each in done) else 1


if __name__ == "__main__":
    sys.exit(main())
