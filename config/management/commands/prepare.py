"""``prepare``: everything between an empty or older data folder and a web server that may start."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from config import soundness
from config.assets import collect_static_files
from config.backup.place import Refused, of_settings
from config.backup.restoring import clear_leftovers
from config.roles import OPENING
from monitoring.recording.tables import ensure_partitions
from tenants.models import Tenant

CLOSED_TABLES = """\
The role {role} of DATABASE_URL may not use {count} tables that another role made before. Let that
role run, once:
{statements}"""


class Command(BaseCommand):
    """Refuses an unsafe or too new database, migrates, collects static files, seeds an empty one."""

    help = "Checks and migrates the database and makes example data when there is no tenant yet."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options (``flowwatch run`` takes the same)."""
        parser.add_argument(
            "--email", default="owner@example.com", help="the first owner's address"
        )
        parser.add_argument(
            "--no-example", action="store_true", help="make no tenant and no example data"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do all steps; each is skipped when there is nothing to do."""
        self.check(fail_level=40)
        try:
            clear_leftovers(of_settings())
            self._refuse_unsound()
        except Refused as error:
            raise CommandError(str(error)) from error
        except OperationalError as error:
            raise CommandError(f"The database can't be reached: {error}") from error
        if missing := soundness.missing_migrations():
            self._say(f"Bringing the database up to date ({len(missing)} steps) …")
            call_command("migrate", interactive=False, verbosity=0)
        # Not the worker's task alone: ingest must find a partition when the worker has been away.
        ensure_partitions()
        collect_static_files()
        if not options["no_example"] and not Tenant.objects.exists():
            self._say("First start: making a tenant with thirty days of example data …")
            call_command("seed_example", email=options["email"], stdout=self.stdout)

    def _say(self, text: str) -> None:
        """Tell progress on standard error, not in the red of errors."""
        self.stderr.write(text, lambda line: line)

    def _refuse_unsound(self) -> None:
        if problems := soundness.unsafe_settings():
            raise CommandError("This database is not safe to use.\n" + "\n".join(problems))
        if closed := soundness.closed_tables():
            raise CommandError(_words_on(closed))
        if unknown := soundness.unknown_migrations():
            raise CommandError(
                "This database was used by a newer Flowwatch: it has the migrations "
                f"{', '.join(unknown)}, which this one lacks. Start that version, or restore a "
                "backup of before."
            )


def _words_on(closed_tables: list[str]) -> str:
    role = settings.APP_ROLE
    statements = "\n".join(f"  {statement.format(app=role)};" for statement in OPENING)
    return CLOSED_TABLES.format(count=len(closed_tables), role=role, statements=statements)
