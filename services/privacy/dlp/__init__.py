"""Finds personal data in text: deterministic rules that always finish, each sure of its own kind."""
