"""A hub and sites on this machine: what they need, where they lie, how they are started and found."""
