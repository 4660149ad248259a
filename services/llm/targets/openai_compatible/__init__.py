"""A target on somebody else's server, by the best API that it is found to support."""
