"""`python -m loadtests.bench` is `make bench`."""

from loadtests.bench.run import main

main()
