"""`python -m tests.bench [posts batches pages lint alerts storm] [--seconds N] [--repeats N]`: figures.

Side by side, all in one run on one machine, the load generator on the same machine: quote the ratios.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform

from tests.bench.site import running_site

PARTS = ("posts", "batches", "pages", "lint", "alerts", "storm")


def read_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """``parts`` (all when none is named), ``seconds``, ``repeats``."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    # argparse compares the default itself, as one value, with the choices.
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--repeats", type=int, default=3)
    wanted = parser.parse_args(arguments)
    wanted.parts = wanted.parts or list(PARTS)
    return wanted


def main() -> None:
    """Measure the wanted parts and print their lines."""
    wanted = read_arguments()
    print(f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}")
    with running_site() as site:
        site.command("create_tenant", "Bench", "--slug", "bench")
        token = site.command("create_token", "bench", "--scopes", "ingest,read,write")
        site.command("shell", "--no-imports", "-c", _MAKE_BARE_TABLE)
        for name in wanted.parts:
            part = importlib.import_module(f"tests.bench.{name}")
            print("\n".join(part.measure(site, token, wanted.seconds, wanted.repeats)), flush=True)


_MAKE_BARE_TABLE = """
from config.roles import as_owner
from django.db import connection
with as_owner(), connection.cursor() as cursor:
    cursor.execute(
        "CREATE TABLE bench_bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text)"
    )
"""

if __name__ == "__main__":
    main()
