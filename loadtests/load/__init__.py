"""Load on a running site: Locust users, and clients that drop and resume."""
