"""`manage.py upgrade_database`: brings the embedded database to the major version of the programs here."""

from __future__ import annotations

import os
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.backup.archive import Archive, written_whole
from config.backup.dumping import write_backup
from config.backup.place import Refused, of_cluster
from config.backup.restoring import destination, fill
from config.postgres import major
from config.postgres.binaries import Binaries, DatabaseUnavailable, find_binaries
from config.postgres.cluster import Cluster

KEPT = (
    "The database is of PostgreSQL {new} now. The old files are kept in {kept}: remove them when all"
    " is well. To go back, stop, and give that folder the name {data}."
)
OWN_SETTINGS = "These settings of your own are not taken over; add them to {file}:\n{settings}"


class Command(BaseCommand):
    """Dumps with the old programs, restores with the new ones; the old files stay."""

    help = (
        "Bring the embedded database to the major version of the PostgreSQL that comes with this"
        " Flowwatch, which must not run meanwhile. The old files are kept."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Where the old programs are."""
        parser.add_argument(
            "--old-programs",
            metavar="FOLDER",
            help="bin folder of the PostgreSQL that wrote the data",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Move, or say why not; interrupted, everything is as before."""
        if not settings.EMBEDDED_DATABASE:
            raise CommandError("DATABASE_URL names a server of your own: its upgrade is yours.")
        try:
            self._upgrade(Cluster(settings.HOME), options["old_programs"])
        except (Refused, DatabaseUnavailable) as error:
            raise CommandError(str(error)) from error

    def _upgrade(self, cluster: Cluster, old_programs: str | None) -> None:
        new = find_binaries(os.environ.get("FLOWWATCH_POSTGRES_BIN"))
        version = major.version_of(cluster)
        if version is None or version == new.major:
            self._say(f"Nothing to do: the programs here are PostgreSQL {new.major}, as the data.")
            return
        if version > new.major:
            raise CommandError(
                f"The data were written by PostgreSQL {version}, newer than the programs here ({new.major})."
            )
        with major.alone(cluster):
            self._move(cluster, major.programs_of(version, cluster, old_programs), new)

    def _move(self, cluster: Cluster, old: Binaries, new: Binaries) -> None:
        begun = time.monotonic()
        file = cluster.folder / f"upgrade-from-{old.major}.backup"
        self._say(f"Reading with PostgreSQL {old.major} …")
        with major.served(cluster, old), written_whole(file, overwrite=True) as target:
            write_backup(target, of_cluster(cluster), old)
        fresh = major.new_beside(cluster)
        self._say(f"Writing with PostgreSQL {new.major} …")
        with (
            major.served(fresh, new),
            destination(of_cluster(fresh), replace=False) as (place, one_transaction),
        ):
            fill(place, Archive(file), new, one_transaction=one_transaction)
        own = major.own_settings(cluster.data)
        kept = major.take_place(fresh, cluster)
        file.unlink()
        self._say(KEPT.format(new=new.major, kept=kept, data=cluster.data))
        if own:
            self._say(OWN_SETTINGS.format(file=cluster.data / "postgresql.conf", settings=own))
        self._say(f"It took {time.monotonic() - begun:.0f} s.")

    def _say(self, text: str) -> None:
        """Tell progress on standard error, not in the red of errors."""
        self.stderr.write(text, lambda line: line)
