"""What infra/compose/compose.yaml says: its services as data, with the defaults of what the environment may set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from tests.support.paths import ROOT

COMPOSE = ROOT / "infra" / "compose" / "compose.yaml"


def compose(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file, as Docker reads it under this environment."""
    document: dict[str, Any] = YAML(typ="safe").load(interpolate(COMPOSE.read_text(), environ or {}))
    return document


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """Every `${NAME:-default}` replaced: Docker takes the default where the variable is unset or empty."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: environ.get(found[1]) or found[2], text)
