"""Measures a running fleet over many requests, and at several sizes."""
