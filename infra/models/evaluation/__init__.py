"""Measures trained models and writes their cards."""
