"""`python -m tidegate.services.cli` is the same as `tidegate`."""

from tidegate.services.cli import main

main()
