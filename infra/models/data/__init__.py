"""Generates and packs the training data of the language models."""
