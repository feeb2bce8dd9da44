"""`python -m freehold` is `freehold`."""

from freehold.cli import main

main()
