"""What each site knows: snapshot and delta replicas. Empty until replication arrives; the floor is kept by the layer contract."""
