"""Streams an answer while it is made: the answer log, its writer, the events of each client, and their pacing."""
