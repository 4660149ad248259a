"""`make bench`: ours beside a peer in one run, printed as ratios."""
