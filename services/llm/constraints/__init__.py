"""What decoding may say: quotations of the passages, or JSON of a schema."""
