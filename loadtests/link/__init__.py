"""A TCP link with delay, jitter, rate and outages, and a simulator of what crosses it."""
