"""The rules of sync: what to fetch, apply, merge, compare and fence, as values. No I/O, no clock, no NATS.

The shells around them are in the folder above; read first: replica.py."""
