"""The whole pipeline under faults on a simulated clock, and how much load a site carries. Read engine.py first."""
