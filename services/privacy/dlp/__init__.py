"""Finds personal data in text: deterministic rules that always finish, each sure of its own kind."""

from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.privacy.dlp.finding import KINDS, Finding

__all__ = ["KINDS", "Detector", "Finding"]
