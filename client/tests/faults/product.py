"""Runs a Flowwatch of its own until standard input ends: `python product.py` prints port and token.

Needs the interpreter of the whole project, while the client's tests may run on any.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
"""Of the whole project."""


def main() -> None:
    sys.path.insert(0, str(ROOT))
    running_site = importlib.import_module("tests.bench.site").running_site
    with running_site(worker=False) as site:
        site.command("create_tenant", "Faults", "--slug", "faults")
        token = site.command("create_token", "faults", "--scopes", "ingest,read,write")
        print(site.port, token, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
