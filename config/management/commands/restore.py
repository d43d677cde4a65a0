"""`manage.py restore FILE`: the way back from `backup`."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from config import soundness
from config.backup.archive import Archive
from config.backup.manifest import Manifest, key_mark, refuse_newer, server_major
from config.backup.place import Place, Refused, of_settings
from config.backup.restoring import destination, fill
from config.home import publish
from config.lifeline import lock_file
from config.postgres.binaries import DatabaseUnavailable, client_for
from config.roles import on_database

OTHER_KEY = (
    "The backup was made with another secret key than the one here. All data are there, but everybody"
    " has to sign in anew, links in mails sent before end, and secrets that were scrubbed before and"
    " after get different marks. To go on with the old key, give it as SECRET_KEY{or_here}."
)


class Command(BaseCommand):
    """Nothing of the old data is touched before the new are whole."""

    help = (
        "Restore a backup that your own Flowwatch made (never a stranger's: a dump can hold code)."
        " Flowwatch must not run meanwhile. Interrupted, it leaves what was there."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """What to restore, and whether over something."""
        parser.add_argument("file", type=Path, help="a file that `backup` wrote")
        parser.add_argument(
            "--replace", action="store_true", help="put it in the place of what is there now"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Check, fill a new database, migrate it, let it take the old one's place."""
        begun = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _end_in_order)
        connection.close()
        try:
            with _nothing_runs():
                archive = Archive(options["file"])
                self._restore(archive, of_settings(), replace=options["replace"])
                self._settle_key(archive)
        except (Refused, DatabaseUnavailable) as error:
            raise CommandError(str(error)) from error
        self._say(f"{_summary(archive.manifest)} in {time.monotonic() - begun:.0f} s.")

    def _restore(self, archive: Archive, place: Place, *, replace: bool) -> None:
        with place.connect_server() as session:
            major = server_major(session)
        refuse_newer(archive.manifest, major)
        client = client_for(max(major, archive.manifest.programs), _chosen())
        with destination(place, replace=replace) as (new, one_transaction):
            fill(new, archive, client, one_transaction=one_transaction)
            self._migrate(new)

    def _migrate(self, new: Place) -> None:
        with on_database(new.database):
            if missing := soundness.missing_migrations():
                self._say(f"Bringing the restored data up to date ({len(missing)} steps) …")
                call_command("migrate", interactive=False, verbosity=0)

    def _settle_key(self, archive: Archive) -> None:
        """Take the backup's key over when the data folder's may be replaced; else say it differs."""
        if archive.manifest.key == key_mark(settings.SECRET_KEY):
            return
        file = settings.HOME.path / "secret-key"
        if os.environ.get("SECRET_KEY") or archive.secret_key is None:
            or_here = "" if os.environ.get("SECRET_KEY") else f", or write it to {file}"
            self._say(OTHER_KEY.format(or_here=or_here))
            return
        kept = file.with_name(f"secret-key.{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}")
        if file.exists():
            file.rename(kept)
        publish(file, archive.secret_key)
        self._say(f"The backup's secret key is in use now; the one before is kept as {kept}.")

    def _say(self, text: str) -> None:
        """Tell on standard error, not in the red of errors."""
        self.stderr.write(text, lambda line: line)


@contextlib.contextmanager
def _nothing_runs() -> Iterator[None]:
    """No `run` of this data folder, now and until the end. Raises :class:`Refused`."""
    if not settings.EMBEDDED_DATABASE:
        yield
        return
    lock = lock_file(settings.HOME.path / "run.lock", wait=False)
    if lock is None:
        raise Refused(
            f"Flowwatch runs with the data folder {settings.HOME.path}: end it first, then restore."
        )
    try:
        yield
    finally:
        os.close(lock)


def _end_in_order(number: int, _: object) -> NoReturn:
    """As Ctrl-C does: the old database is opened again."""
    sys.exit(128 + number)


def _chosen() -> str | None:
    return os.environ.get("FLOWWATCH_POSTGRES_BIN")


def _summary(manifest: Manifest) -> str:
    executions = manifest.rows.get("monitoring_execution", 0)
    return (
        f"Restored the backup of {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC: {executions:,} executions,"
        f" {sum(manifest.rows.values()):,} rows,"
    )
