"""One causal language model that runs here, and how its next token is chosen."""
