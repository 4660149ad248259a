"""Keeps an index at what a replica holds: documents and vectors come from its store, and what is quoted is judged."""
