"""What the product knows of natural languages: one data file per language, and telling which one a text is in."""
