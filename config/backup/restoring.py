"""The way back: a new database is filled beside the old one and takes its name when it is whole.

Until then the old one stays as it is, whatever happens. Where nobody known may create databases, an
empty one is filled in one transaction.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import IO, Final

import psycopg
from psycopg import sql
from psycopg.errors import ObjectInUse

from config.backup import manifest as manifests
from config.backup import rights
from config.backup.archive import Archive
from config.backup.place import Place, Refused
from config.backup.turns import (
    Session,
    allow_connections,
    clear_up,
    drop,
    replaced_name,
    restoring_name,
    take_turn,
)
from config.postgres.binaries import Binaries
from config.postgres.creation import confine_roles
from config.roles import default_privileges

PIECE: Final = 1 << 18
# How long sessions may take that end just now.
PATIENCE_SECONDS: Final = 5.0
# Each waits five seconds for who has come back since the sessions of the new one were ended.
SWAP_TRIES: Final = 5
# The last commit, the swap of the names, waits for all that was written before.
SESSION_OPTIONS: Final = "-c synchronous_commit=off -c maintenance_work_mem=256MB"


@contextlib.contextmanager
def destination(place: Place, *, replace: bool) -> Iterator[tuple[Place, bool]]:
    """The database to fill, and whether in one transaction; it takes the place of the old one if
    the block ends well.

    Until then nobody may connect to the old one: what they wrote there would be lost. Raises
    :class:`Refused` when somebody uses it, or when it isn't empty and not to be replaced.
    """
    if place.admin is None:
        with place.connect() as session:
            _take_turn(session, place)
            _refuse_to_begin(session, place, replace=replace)
            _refuse_what_is_there(session, place)
            yield place, True
        return
    new = place.renamed(restoring_name(place.database))
    with place.connect_admin() as admin:
        _take_turn(admin, place)
        clear_up(admin, place.database)
        with _closed(admin, place, replace=replace):
            _create_beside(admin, place, new)
            try:
                yield new, False
                _swap(admin, place, new)
            finally:
                with place.connect_admin() as fresh:
                    drop(fresh, new.database)


def clear_leftovers(place: Place) -> None:
    """Let a database be reached again whose restore was killed; nothing while one is at work."""
    if place.admin is None:
        return
    with place.connect_admin() as admin:
        if take_turn(admin, place.database):
            clear_up(admin, place.database)


def fill(new: Place, archive: Archive, client: Binaries, *, one_transaction: bool) -> None:
    """Put the backup into an empty database and compare what it holds with what the backup says."""
    with new.connect() as session:
        for statement in default_privileges(new.owner_role, new.app_role):
            session.execute(statement)
    with archive.dump() as dump:
        _restore(new, dump, client, one_transaction=one_transaction)
    with new.connect() as session:
        manifests.refuse_different(session, archive.manifest)
        rights.give(session, archive.manifest.rights, new.owner_role, new.app_role)
        session.execute("ANALYZE")


def _restore(new: Place, dump: IO[bytes], client: Binaries, *, one_transaction: bool) -> None:
    """Feed `pg_restore`. Its own rights are the owner's: not those of a superuser."""
    address, secrets = new.for_programs()
    command = [
        client.program("pg_restore"), f"--dbname={address}", "--format=custom", "--no-owner",
        "--no-privileges", "--exit-on-error", "--no-password",
        *(["--single-transaction"] if one_transaction else []),
    ]  # fmt: skip
    with tempfile.TemporaryFile() as said:
        restore = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            env={**os.environ, **secrets, "PGOPTIONS": SESSION_OPTIONS},
        )
        assert restore.stdin is not None
        try:
            # It ends by itself when it has what it wants, or with a message that is read below.
            with contextlib.suppress(BrokenPipeError):
                while piece := dump.read(PIECE):
                    restore.stdin.write(piece)
        except BaseException:  # damaged, or Ctrl-C: what it got so far must not look like all
            restore.kill()
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                restore.stdin.close()
            status = restore.wait()
        if status != 0:
            said.seek(0)
            words = said.read().decode(errors="replace").strip()
            raise Refused(f"pg_restore ended with status {status}: {words}")


def _take_turn(session: Session, place: Place) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not take_turn(session, place.database):
        # A start of Flowwatch has the turn for a moment, too.
        if time.monotonic() > end:
            raise Refused(
                f"Another restore of the database {place.database} is at work: wait for its end."
            )
        time.sleep(0.1)


@contextlib.contextmanager
def _closed(admin: Session, place: Place, *, replace: bool) -> Iterator[None]:
    """Nobody uses the database, nor can anybody connect to it until the block ends."""
    with place.connect() as session:
        _refuse_to_begin(session, place, replace=replace)
        try:
            allow_connections(admin, place.database, False)
            # Again: somebody may have come between.
            _refuse_to_begin(session, place, replace=replace)
            session.close()
            yield
        finally:
            with place.connect_admin() as fresh:
                allow_connections(fresh, place.database, True)


def _refuse_to_begin(session: Session, place: Place, *, replace: bool) -> None:
    _refuse_users(session, place)
    if not replace and (count := _tables(session)):
        raise Refused(
            f"The database {place.database} is not empty ({count} tables). Give --replace to put the "
            "backup in its place; what it holds now is then lost."
        )


def _refuse_what_is_there(session: Session, place: Place) -> None:
    if _tables(session):
        raise Refused(
            f"The role {place.owner_role} may not create databases, so that the backup can't be "
            "restored beside the old one. Give DATABASE_URL (and MIGRATION_DATABASE_URL) of an empty "
            f"database, or let a superuser say: ALTER ROLE {place.owner_role} CREATEDB."
        )


def _tables(session: Session) -> int:
    [(count,)] = session.execute(
        "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('public')"
        " AND relkind IN ('r', 'p')"
    ).fetchall()
    return int(count)


def _refuse_users(session: Session, place: Place) -> None:
    """Refuse while web, workers or people are connected: they would go on with what is replaced."""
    end = time.monotonic() + PATIENCE_SECONDS
    while others := session.execute(
        # Autovacuum has no user; the type of others' sessions is not for everybody to see.
        "SELECT DISTINCT usename::text FROM pg_stat_activity WHERE datname = current_database()"
        " AND usename IS NOT NULL AND pid <> pg_backend_pid() ORDER BY 1"
    ).fetchall():
        if time.monotonic() > end:
            raise Refused(
                f"The database {place.database} is in use (by {', '.join(name for (name,) in others)}):"
                " end Flowwatch and whatever else is connected first."
            )
        time.sleep(0.1)


def _create_beside(admin: Session, place: Place, new: Place) -> None:
    """An empty database that sorts and encodes as the old one does, closed to all but the roles."""
    drop(admin, new.database)
    admin.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 {}").format(
            sql.Identifier(new.database),
            sql.Identifier(place.owner_role),
            _locale(admin, place.database),
        )
    )
    with psycopg.connect(**{**(place.admin or {}), "dbname": new.database}, autocommit=True) as own:
        confine_roles(own, new.database, place.owner_role, place.app_role)


def _locale(admin: Session, database: str) -> sql.Composable:
    """Encoding and sort order of a database, as CREATE DATABASE takes them."""
    [(row,)] = admin.execute(
        "SELECT to_jsonb(d) || jsonb_build_object('encoding', pg_encoding_to_char(encoding))"
        " FROM pg_database d WHERE datname = %s",
        [database],
    ).fetchall()
    provider = {"c": "libc", "i": "icu", "b": "builtin"}[row["datlocprovider"]]
    wanted = {
        "ENCODING": row["encoding"],
        "LC_COLLATE": row["datcollate"],
        "LC_CTYPE": row["datctype"],
        "LOCALE_PROVIDER": provider,
    }
    if provider != "libc":
        # PostgreSQL 17 renamed the column.
        name = "ICU_LOCALE" if provider == "icu" else "BUILTIN_LOCALE"
        wanted[name] = row.get("datlocale") or row["daticulocale"]
    return sql.SQL(" ").join(
        sql.SQL("{} = {}").format(sql.SQL(name), sql.Literal(value))
        for name, value in wanted.items()
    )


def _swap(admin: Session, place: Place, new: Place) -> None:
    """The new database takes the name of the old one, at once or not at all; the old one goes.

    Raises :class:`Refused` when it can't, as when somebody connects to the new one again and again.
    """
    old = replaced_name(place.database)
    try:
        drop(admin, old)
        for left in reversed(range(SWAP_TRIES)):
            _end_sessions(admin, new.database)
            try:
                with admin.transaction():
                    _rename(admin, place.database, old)
                    _rename(admin, new.database, place.database)
                break
            except ObjectInUse:
                if not left:
                    raise
    except psycopg.Error as error:
        raise Refused(
            f"What was restored could not take the place of {place.database}:"
            f" {error.diag.message_primary or error}. End whatever is connected, and restore again."
        ) from error
    drop(admin, old)


def _rename(admin: Session, database: str, name: str) -> None:
    admin.execute(
        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
            sql.Identifier(database), sql.Identifier(name)
        )
    )


def _end_sessions(admin: Session, database: str) -> None:
    """Who looks at what is being restored (a probe of all databases) has nothing to lose."""
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database]
    )
