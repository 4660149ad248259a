"""A site's client and the hub's server of verification, and the coalescing of equal requests."""
