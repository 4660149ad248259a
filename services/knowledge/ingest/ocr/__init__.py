"""Text in pictures: pages that were scanned, and pictures of pages; next: recognition.py, engine.py."""
