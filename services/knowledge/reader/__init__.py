"""Reading: passages in, answers with evidence out; `reader.py` is the way in."""
