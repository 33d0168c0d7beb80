"""`python -m pykbroker` is the command `pykbroker`."""

from pykbroker.cli import main

main()
