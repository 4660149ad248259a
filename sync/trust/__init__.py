"""Whom a site believes: keys, the TUF repository and its client, attestation, leases. No NATS, no clock of its own.

Whatever fails here is named by a `TrustError`, and changes nothing that was in force; read first: keys.py."""
