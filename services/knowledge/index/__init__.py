"""Finding: documents in, passages out, by words and by meaning; `hybrid.py` is the way in."""
