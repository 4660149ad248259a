"""nats-server processes: a hub and its sites on one machine, with their configuration and credentials."""
