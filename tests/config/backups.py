"""Databases of the test run's own server to back up and to restore into."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from psycopg import sql

from config.backup.archive import Archive, written_whole
from config.backup.dumping import write_backup
from config.backup.place import Place, of_cluster
from config.backup.restoring import destination, fill
from config.home import home_from
from config.postgres.binaries import Binaries, find_binaries
from config.postgres.cluster import DATABASE, Cluster
from config.postgres.creation import confine_roles
from tests.database import copy_template, superuser


def server() -> Cluster:
    """The cluster of this run."""
    return Cluster(home_from(os.environ))


def programs() -> Binaries:
    """Those that the server runs with."""
    return find_binaries(os.environ.get("FLOWWATCH_POSTGRES_BIN"))


@contextlib.contextmanager
def database(suffix: str, *, migrated: bool) -> Iterator[Place]:
    """A database of the calling test's own: at today's schema, or without any table."""
    name = f"{settings.DATABASES['default']['NAME']}_{suffix}"
    place = of_cluster(server()).renamed(name)
    if migrated:
        copy_template(server(), name)
    else:
        _create_empty(place)
    try:
        yield place
    finally:
        with superuser(server(), DATABASE) as admin:
            admin.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


def write(place: Place, path: Path) -> Archive:
    """A backup of it."""
    with written_whole(path, overwrite=False) as file:
        write_backup(file, place, programs())
    return Archive(path)


def restore(archive: Archive, place: Place, *, replace: bool = False) -> None:
    """Put it there."""
    with destination(place, replace=replace) as (new, one_transaction):
        fill(new, archive, programs(), one_transaction=one_transaction)


def rows(place: Place, query: str) -> list[Any]:
    """What the owner reads there."""
    with place.connect() as session:
        return session.execute(query.encode()).fetchall()


def as_app(place: Place) -> psycopg.Connection[Any]:
    """A session of the role that uses the database."""
    parameters = server().connection_parameters(place.app_role, place.database)
    return psycopg.connect(**parameters, autocommit=True)


def _create_empty(place: Place) -> None:
    name = sql.Identifier(place.database)
    with superuser(server(), DATABASE) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        admin.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(name, sql.Identifier(place.owner_role))
        )
    with superuser(server(), place.database) as admin:
        confine_roles(admin, place.database)
