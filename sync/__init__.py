"""What each site knows: snapshot and delta replicas. Its rules and whom it trusts are here; the shells that know NATS
come later."""
