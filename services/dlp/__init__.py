"""Finds personal data in text: deterministic rules that always finish, each sure of its own kind."""

from services.dlp.detector import Detector
from services.dlp.finding import KINDS, Finding

__all__ = ["KINDS", "Detector", "Finding"]
