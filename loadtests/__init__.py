"""How fast and how right: benches against peers, load, accuracy."""
