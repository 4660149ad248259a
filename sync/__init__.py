"""What each site knows: snapshot and delta replicas. Empty until they arrive; the layer contract keeps its floor."""
