"""`python -m flowwatch_client` is the command `flowwatch-client`."""

from __future__ import annotations

import sys

from flowwatch_client.cli import main

if __name__ == "__main__":
    sys.exit(main())
