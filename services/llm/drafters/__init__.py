"""Proposes the tokens that a target model may say next."""
