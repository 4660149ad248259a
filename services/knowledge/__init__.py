"""What a site knows: embedding, intent classifier, indexes, the reader, extraction."""
