"""What is generated in docs/ and README.md, for `make check` to compare; no part of what is installed."""
