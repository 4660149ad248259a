"""What keeps a domain's replicas over NATS: thin shells around the rules, the store and the keys of sync.

They decide nothing that a rule decides, and are the only part of sync that knows streams and object stores. Next:
repository_link.py, for what is signed; the sync worker, which runs them."""
