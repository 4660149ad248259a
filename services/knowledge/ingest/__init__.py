"""Reads documents as people have them (PDF, Word, HTML, Excel, CSV, plain text) as Markdown; next: read.py."""
