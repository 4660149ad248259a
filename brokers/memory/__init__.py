"""The in-memory bus, for the in-process runtime; one conformance suite tests it and the JetStream bus alike."""
