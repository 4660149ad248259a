"""How messages move: the only floor that imports nats."""
