"""JetStream: a domain's message bus on a NATS server; `bus.py` is the way in."""
