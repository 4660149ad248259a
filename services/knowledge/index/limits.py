"""Limits of the index that settings may change. They stand apart from the engines, which settings must not load."""

EXACT_BELOW = 15_000
"""Vectors per tenant up to which a scan is exact: there it takes no longer than the graph of hnswlib."""
FOLD_AT = 2_048
"""Passages that may come or go before they are put into the graph: until then they are scanned, which takes 1 ms."""
