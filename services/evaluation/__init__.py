"""A client's run through a pack's questions, and the report of it."""
