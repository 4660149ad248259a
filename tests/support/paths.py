"""Where the tests find what lies outside them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / ".models"
KIOSK = ROOT / "infra" / "packs" / "kiosk"
