#!/usr/bin/env python
"""Management commands of a checkout; an installed package offers the same as ``flowwatch``."""

from config.cli import main

if __name__ == "__main__":
    main()
