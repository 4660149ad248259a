"""Finds personal data in text by deterministic rules that always finish; next: detector.py."""
