"""Fills a JSON schema from a text with values that stand in it."""
