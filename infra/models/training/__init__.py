"""Trains the language models and their adapters."""
