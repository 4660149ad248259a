"""The language of policies and the content rules that it can name."""
