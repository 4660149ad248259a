"""Decides where and how a request is answered: pure functions of signals and configuration."""
