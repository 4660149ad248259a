"""Word lists and templates that the generator draws from; nothing here is about a real place, person or price."""
