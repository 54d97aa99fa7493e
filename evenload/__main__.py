"""`python -m evenload` is `evenload`."""

from evenload.cli import main

main()
