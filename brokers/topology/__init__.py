"""Which streams and consumers a domain must have, and the plan that gets it there."""
