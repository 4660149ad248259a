"""What each site knows: replicas made of signed operations, from a snapshot and the log behind it, and whom it trusts.

The rules are values without I/O (rules/replica.py); the shells here know storage, and not NATS. Read store.py first."""
