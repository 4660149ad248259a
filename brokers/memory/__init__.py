"""The in-memory twin of the JetStream bus, for the in-process runtime; one conformance suite holds both to it."""
