"""`manage.py backup FILE`: everything to begin anew elsewhere, while all runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.backup.archive import standard_output, written_whole
from config.backup.dumping import write_backup
from config.backup.manifest import Manifest, server_major
from config.backup.place import Place, Refused, of_settings
from config.postgres.binaries import DatabaseUnavailable, client_for

WITHOUT_KEY = (
    "The secret key is not in it: keep {where} apart from it, as safely"
    " (or give --with-key; then who has the file has both)."
)


class Command(BaseCommand):
    """One consistent file; nobody has to wait for it."""

    help = (
        "Write a backup of everything that is committed now to one file, beside running ingest."
        " The file holds all that tenants sent: only its owner may read it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to, and what besides the database."""
        parser.add_argument("file", help="where to write; - is standard output")
        parser.add_argument(
            "--with-key", action="store_true", help="put the secret key into the file too"
        )
        parser.add_argument(
            "--overwrite", action="store_true", help="replace the file when it exists"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Write, and say on standard error what is in it and what is not."""
        begun = time.monotonic()
        name: str = options["file"]
        target = (
            standard_output()
            if name == "-"
            else written_whole(Path(name), overwrite=options["overwrite"])
        )
        key = settings.SECRET_KEY if options["with_key"] else None
        try:
            place = of_settings()
            client = client_for(_server_major(place), os.environ.get("FLOWWATCH_POSTGRES_BIN"))
            with target as file:
                manifest = write_backup(file, place, client, secret_key=key)
        except (Refused, DatabaseUnavailable) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"The backup can't be written: {error.strerror}.") from error
        self._say(f"{_summary(manifest)} in {time.monotonic() - begun:.0f} s.")
        if key is None:
            self._say(WITHOUT_KEY.format(where=_where_the_key_is()))

    def _say(self, text: str) -> None:
        """Tell on standard error, not in the red of errors: standard output may be the backup."""
        self.stderr.write(text, lambda line: line)


def _server_major(place: Place) -> int:
    with place.connect() as session:
        return server_major(session)


def _summary(manifest: Manifest) -> str:
    executions = manifest.rows.get("monitoring_execution", 0)
    return (
        f"Backup of {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC: {executions:,} executions,"
        f" {sum(manifest.rows.values()):,} rows,"
    )


def _where_the_key_is() -> str:
    if os.environ.get("SECRET_KEY"):
        return "SECRET_KEY of the environment"
    return str(settings.HOME.path / "secret-key")
