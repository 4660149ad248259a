"""The shells of sync: what moves documents and artefacts between the domains, and answers for them, over NATS.

They decide nothing: the rules are in sync/rules, the stores beside them. Next: replica_client.py, who asks."""
