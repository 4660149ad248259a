"""The audit log of a domain: what it did, in a Merkle tree whose heads are signed and witnessed.

Read first: merkle.py and checkpoints.py, the rules; log.py, the store; writer.py, who fills it."""
