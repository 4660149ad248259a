"""What decoding is held to: quotations of the passages, or JSON of a schema."""
