"""Migrations of a filled database beside senders: nobody waits, nothing is lost, and a kill is mended."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from psycopg import sql
from psycopg.errors import LockNotAvailable
from pytest_django.plugin import DjangoDbBlocker

from config.backup.place import Place
from config.home import SOURCE_ROOT
from config.management.commands.migrate import patiently
from config.roles import on_database
from config.soundness import missing_migrations
from tests.config.backups import database, server
from tests.config.trees import PATIENCE, wait_for
from tests.database import database_url, superuser
from tests.upgrade.beside_ingest import LONGEST_WAIT, fill, lost, senders

pytestmark = pytest.mark.store

EXECUTIONS = 20_000


@pytest.fixture(scope="module")
def filled(django_db_setup: None) -> Iterator[Place]:
    """The oldest version's database with executions; tests work on copies."""
    with database("filled", migrated=False) as place:
        fill(place, EXECUTIONS)
        yield place


@pytest.fixture
def old(filled: Place, django_db_blocker: DjangoDbBlocker) -> Iterator[Place]:
    """A copy, which Django's connection goes to."""
    with database("upgrade", migrated=False) as place:
        name = sql.Identifier(place.database)
        with superuser(server(), "postgres") as admin:
            admin.execute(sql.SQL("DROP DATABASE {}").format(name))
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                    name, sql.Identifier(filled.database), sql.Identifier(place.owner_role)
                )
            )
        with django_db_blocker.unblock(), on_database(place.database):
            yield place


def migrate() -> None:
    call_command("migrate", interactive=False, verbosity=0)


def bad_migration(place: Place) -> None:
    """Changes a column's type, which writes the table anew; a big one takes longer than this one."""
    with place.connect() as session, session.transaction():
        session.execute("ALTER TABLE monitoring_execution ALTER COLUMN attempt TYPE bigint")
        session.execute("SELECT pg_sleep(1.2)")


_SOMEBODY_WAITS = """
    SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


@contextmanager
def somebody_reads(place: Place, *tables: str, seconds: float) -> Iterator[None]:
    """A session that keeps tables from being changed, as a long question does, so long after somebody
    began to wait for it.
    """

    def read() -> None:
        with superuser(server(), place.database) as session, session.transaction():
            for table in tables:
                session.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(sql.Identifier(table)))
            begun.set()
            wait_for(
                lambda: session.execute(_SOMEBODY_WAITS).fetchone() == (True,),
                PATIENCE,
                "a migration waits",
            )
            time.sleep(seconds)

    begun = threading.Event()
    reader = threading.Thread(target=read)
    reader.start()
    begun.wait()
    yield
    reader.join()


def test_nobody_waits_for_the_migrations_and_nothing_is_lost(old: Place) -> None:
    assert missing_migrations()
    with senders(old) as ledger:
        migrate()
    assert missing_migrations() == []
    assert lost(old, ledger) == 0
    assert ledger.longest_wait < LONGEST_WAIT


def test_a_migration_gives_way_to_who_reads_and_comes_back(old: Place) -> None:
    with (
        senders(old) as ledger,
        somebody_reads(old, "monitoring_rollup", "monitoring_execution", seconds=1.5),
    ):
        migrate()
    assert missing_migrations() == []
    assert lost(old, ledger) == 0
    assert ledger.longest_wait < LONGEST_WAIT


def test_a_try_that_left_its_transaction_open_is_followed_by_a_new_session(old: Place) -> None:
    """As Django does when a foreign key, which comes last, gets no lock."""
    tries = []

    def work() -> None:
        tries.append(connection.in_atomic_block)
        if len(tries) == 1:
            transaction.atomic().__enter__()
            raise OperationalError from LockNotAvailable()
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("300ms",)

    patiently(work, tell=lambda text: None)
    assert tries == [False, False]


def test_a_migration_that_rewrites_a_table_would_be_seen(old: Place) -> None:
    with senders(old) as ledger:
        bad_migration(old)
    assert ledger.longest_wait > LONGEST_WAIT


def test_a_migration_that_waits_without_giving_way_would_be_seen(
    old: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config.management.commands.migrate.LOCK_TIMEOUT_MS", 0)
    with (
        senders(old) as ledger,
        somebody_reads(old, "monitoring_rollup", "monitoring_execution", seconds=1.5),
    ):
        migrate()
    assert ledger.longest_wait > LONGEST_WAIT


@pytest.mark.processes
def test_migrations_that_are_killed_in_the_middle_go_on(old: Place) -> None:
    before = missing_migrations()
    with senders(old) as ledger:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
            cwd=SOURCE_ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "DATABASE_URL": database_url(old.app_role, old.database),
                "MIGRATION_DATABASE_URL": database_url(old.owner_role, old.database),
            },
        )
        wait_for(lambda: len(missing_migrations()) < len(before), PATIENCE, "one is done")
        process.kill()
        process.wait()
        migrate()
    assert missing_migrations() == []
    assert lost(old, ledger) == 0
