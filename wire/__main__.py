"""`python -m wire COMMAND`: look into the Kafka protocol. The commands are those of wire.study.commands."""

import sys

from wire.study.commands import main

if __name__ == "__main__":
    sys.exit(main())
