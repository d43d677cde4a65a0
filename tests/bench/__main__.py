"""`python -m tests.bench [parts] [--seconds N] [--repeats N] [--sizes N,N] [--record]`: figures.

Side by side, all in one run on one machine, the load generator on the same machine: quote the ratios.
With `--record` they become lines of docs/figures and rows of docs/performance.md.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform

import msgspec

from tests import figures
from tests.bench.bench import SIZES, Bench
from tests.bench.site import Site, running_site
from tests.figures import Figure

PARTS = (
    "posts",
    "batches",
    "pages",
    "lint",
    "alerts",
    "storm",
    "start",
    "retention",
    "backup",
    "soak",
)


def read_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """``parts`` (all when none is named), ``seconds``, ``repeats``, ``sizes``, ``record``."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    # argparse compares the default itself, as one value, with the choices.
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", type=_sizes, default=SIZES, help="executions of the histories")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long the soak lasts")
    parser.add_argument("--record", action="store_true", help="renew docs/performance.md")
    wanted = parser.parse_args(arguments)
    wanted.parts = wanted.parts or list(PARTS)
    return wanted


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted(int(size.replace("_", "")) for size in text.split(",")))


def main() -> None:
    """Measure the wanted parts and print their figures."""
    wanted = read_arguments()
    print(f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}")
    for name in wanted.parts:
        part = importlib.import_module(f"tests.bench.{name}")
        with running_site() as site:  # a new one for each, so that none measures what another left
            bench = Bench(
                site,
                _prepare(site),
                wanted.seconds,
                wanted.repeats,
                wanted.sizes,
                wanted.minutes,
                wanted.record,
            )
            for figure in part.measure(bench):
                _tell(
                    msgspec.structs.replace(figure, command=f"make bench ARGS={name}"),
                    wanted.record,
                )


def _prepare(site: Site) -> str:
    site.make_tenant("bench")
    site.command("shell", "--no-imports", "-c", _MAKE_BARE_TABLE)
    return site.command("create_token", "bench", "--scopes", "ingest,read,write")


def _tell(figure: Figure, record: bool) -> None:
    met = {True: "met", False: "MISSED", None: ""}[figure.met]
    print(f"{figure.line}: {figure.reached}   [{figure.target}] {met}", flush=True)
    if record:
        figures.append("performance", figure)


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
