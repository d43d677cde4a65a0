"""`python -m tests.upgrade.make_dump`: a backup of today's schema for the upgrade tests of later versions.

Made once for each released version, with the oldest PostgreSQL that is supported (any newer one's
programs can read it): `FLOWWATCH_POSTGRES_BIN=/usr/lib/postgresql/15/bin`. It is never made anew.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import django
import msgspec

DUMPS = Path(__file__).parents[1] / "fixtures" / "dumps"


def main() -> None:
    """Write the backup, and beside it what its things are called."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from tests.database import TestServer

    server = TestServer()
    try:
        print(_make())
    finally:
        server.stop()


def _make() -> Path:
    from django.conf import settings

    from config.backup.place import of_cluster
    from config.version import version
    from tests.config.backups import server, write
    from tests.database import create_worker_database
    from tests.upgrade.edge_cases import build

    name = settings.DATABASES["default"]["NAME"]
    create_worker_database(name)
    ids = build()
    file = DUMPS / f"{version()}-monitoring-{_newest_migration('monitoring')}.backup"
    write(of_cluster(server()).renamed(name), file)
    body = msgspec.json.encode(dataclasses.asdict(ids))
    file.with_suffix(".json").write_bytes(msgspec.json.format(body, indent=1) + b"\n")
    return file


def _newest_migration(app: str) -> str:
    from django.db.migrations.loader import MigrationLoader

    return max(name for of, name in MigrationLoader(None).disk_migrations if of == app)


if __name__ == "__main__":
    main()
