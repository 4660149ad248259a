"""What each site knows: snapshot and delta replicas. Its rules are here; the shells that know NATS come later."""
