"""`python -m services.cli` is the same as `tidegate`."""

from services.cli import main

main()
