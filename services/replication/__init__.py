"""The sync worker of a domain as a process: what it opens, in which order, and who else it needs.

Next: composition.py."""
