"""`python -m tidegate.services.cli` is the same as `tidegate`."""

from tidegate.services.cli import main

if __name__ == "__main__":  # not in the processes that this one starts
    main()
