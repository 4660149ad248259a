"""Who is let in: access keys and OIDC tokens, and the caller that each stands for. Next: callers.py."""
