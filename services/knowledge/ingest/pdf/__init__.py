"""PDF: its words and lines by PDFium, what they make by our own rules of layout; next: pages.py, layout.py."""
