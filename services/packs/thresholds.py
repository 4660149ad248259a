"""Puts thresholds of confidence into a pack: a policy of their own, and the site's settings.

Promises that nothing else in `site.toml` changes, and that nothing is written where the result would not be read so.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tidegate.schemas import TidegateError
from tidegate.services.policies.language import read_policy

POLICY = "policies/calibrated.yaml"
SETTINGS = "site.toml"
_SECTION = "drafter"
_HEADER = re.compile(r"^\s*\[")


class ThresholdsNotWrittenError(TidegateError, ValueError):
    """The pack's `site.toml` is written in a way that this program does not edit."""

    hint = "put the lines that `tidegate pack calibrate` prints without --write into site.toml by hand"


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """The confidence that any answer must have, and those of some intents and workloads in its place."""

    threshold: float
    class_thresholds: Mapping[str, float] = {}

    def policy(self) -> str:
        """A policy that asks for them."""
        lines = ["policy_id: calibrated", "abstain_thresholds:", f"  confidence: {self.threshold:g}"]
        if self.class_thresholds:
            lines.append("class_thresholds:")
            lines += [f"  {name}: {{confidence: {least:g}}}" for name, least in self.class_thresholds.items()]
        return "\n".join(lines) + "\n"

    def settings(self) -> dict[str, str]:
        """The keys of the section `drafter`, each with its value in TOML: a site asks the hub below the same."""
        own = ", ".join(f"{name} = {float(least)}" for name, least in self.class_thresholds.items())
        return {"escalate_below": f"{float(self.threshold)}", "escalate_below_for": f"{{{own}}}"}


def write_thresholds(pack: Path, thresholds: Thresholds) -> tuple[str, ...]:
    """Write both files; their names. Raises `ThresholdsNotWrittenError` before anything is written."""
    path = pack / SETTINGS
    text = path.read_text("utf-8") if path.is_file() else ""
    edited = edit_section(text, _SECTION, thresholds.settings())
    wanted = tomllib.loads("\n".join(f"{key} = {value}" for key, value in thresholds.settings().items()))
    try:
        found = tomllib.loads(edited)
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ThresholdsNotWrittenError(f"{path}: {error}") from error
    if found != {**expected, _SECTION: {**expected.get(_SECTION, {}), **wanted}}:
        raise ThresholdsNotWrittenError(f"{path}: the section {_SECTION} is not written line by line")
    (pack / POLICY).parent.mkdir(exist_ok=True)
    (pack / POLICY).write_text(f"# Written by `tidegate pack calibrate --write`.\n{thresholds.policy()}", "utf-8")
    path.write_text(edited, "utf-8")
    return POLICY, SETTINGS


def edit_section(text: str, section: str, values: Mapping[str, str]) -> str:
    """The TOML with these lines in its section, in place of those of the same keys."""
    lines = text.splitlines()
    header = next((at for at, line in enumerate(lines) if line.split("#")[0].strip() == f"[{section}]"), None)
    fresh = [f"{key} = {value}" for key, value in values.items()]
    if header is None:
        return "\n".join([*lines, *([""] if lines else []), f"[{section}]", *fresh]) + "\n"
    end = next((at for at in range(header + 1, len(lines)) if _HEADER.match(lines[at])), len(lines))
    kept = [line for line in lines[header + 1 : end] if line.split("=")[0].strip() not in values]
    return "\n".join([*lines[: header + 1], *fresh, *kept, *lines[end:]]) + "\n"


def find_stricter(files: tuple[str, ...], thresholds: Thresholds) -> tuple[str, ...]:
    """The policies of the pack that ask for a higher confidence themselves, which then holds."""
    found = []
    for file in files:
        policy, _ = read_policy(Path(file))
        least = policy.abstain_thresholds.get("confidence") if policy and Path(file).name != Path(POLICY).name else None
        if least is not None and least[1] > thresholds.threshold:
            found.append(f"{file} asks for a confidence of {least[1]:g} itself: all policies hold together")
    return tuple(found)
