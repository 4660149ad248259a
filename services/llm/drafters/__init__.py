"""Proposes the tokens that a target model may generate next."""
