"""`python -m tests.bench.history <tenant> [--executions N] [--workflows N] [--days N]`: a long history.

Fills a tenant of the database that the settings name (`DATABASE_URL`, or the embedded one while it
runs) as fast as two processes can; called again it goes on with the days that are missing.
"""

from __future__ import annotations

import argparse
import os
import time


def main() -> None:
    """Fill, then let PostgreSQL know what is there."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.history", description=__doc__)
    parser.add_argument("tenant")
    parser.add_argument("--executions", type=int, default=10_000_000)
    parser.add_argument("--workflows", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    wanted = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    from django.db import connection

    from config.roles import as_owner
    from tests.bench.history.fill import Plan, fill

    plan = Plan(
        wanted.tenant, wanted.executions, wanted.workflows, wanted.days, int(time.time() * 1_000)
    )
    added = fill(plan, wanted.processes, lambda text: print(text, flush=True))
    if added:
        with as_owner(), connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE)")


if __name__ == "__main__":
    main()
