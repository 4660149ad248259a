"""Reads a pack directory and says what is wrong with it."""
