"""The eight workers: each has an `open` that composes it and a pure `handler.py`; none imports another."""
