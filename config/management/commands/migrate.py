"""Django's ``migrate``, run as the owner of the schema, giving way to who works beside it."""

import time
from collections.abc import Callable
from typing import Any, Final

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import OperationalError, connection
from psycopg.errors import DeadlockDetected, LockNotAvailable

from config.roles import as_owner, grant_default_privileges

# While a migration waits for a table, everybody else who comes to it waits behind.
LOCK_TIMEOUT_MS: Final = 300
# Somebody's long question ends, or vacuum does; ingest goes on meanwhile.
PATIENCE_SECONDS: Final = 600.0
LONGEST_PAUSE_SECONDS: Final = 5.0


class Command(migrate.Command):
    """Bring the schema up to date. The web's own database role could not: it owns nothing.

    A migration that does not get a lock at once is undone and tried again, so that nobody is held up.
    """

    help = "Brings the schema up to date, as the role that owns it, beside all that runs."

    def handle(self, *args: Any, **options: Any) -> str | None:
        """Switch the role, give the app role its default rights, then do as Django does."""
        with as_owner():
            grant_default_privileges()
            return patiently(lambda: super(Command, self).handle(*args, **options), self._say)

    def _say(self, text: str) -> None:
        """Tell on standard error, not in the red of errors."""
        self.stderr.write(text, lambda line: line)


def patiently(work: Callable[[], str | None], tell: Callable[[str], None]) -> str | None:
    """Do it, again and again while others hold what it needs: what it has done stays done."""
    begun, pause = time.monotonic(), 0.1
    while True:
        _begin_session()
        try:
            return work()
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
                raise
            if time.monotonic() - begun > PATIENCE_SECONDS:
                raise CommandError(
                    "Somebody works on a table that a migration has to change, and did not let go of it"
                    f" for {PATIENCE_SECONDS / 60:.0f} minutes ({error}). Nothing is half done: end what"
                    " holds it (pg_stat_activity names it), then run `migrate` again."
                ) from error
        tell(f"Others are at work on a table; again in {pause:.1f} s …")
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _begin_session() -> None:
    """A session that waits for no lock for long.

    A new one each time: where the last statements of a migration fail, Django leaves its transaction
    open.
    """
    connection.close()
    connection.connect()
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{LOCK_TIMEOUT_MS}ms"])
