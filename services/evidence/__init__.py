"""The audit log of a domain: what it did, in a Merkle tree whose heads are signed and witnessed.

Read first: merkle.py and checkpoints.py, the rules; log.py, the store; worker.py, who fills it."""
