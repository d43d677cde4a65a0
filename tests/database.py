"""The PostgreSQL of one test run: one server, one migrated template, one copy for each worker."""

import os
import shutil
import subprocess
from pathlib import Path

import psycopg
from django.core.management import call_command
from django.db import connection
from psycopg import sql

from config.home import Home, home_from
from config.lifeline import Lifeline, lock_file
from config.postgres.cluster import DATABASE, OWNER_ROLE, SUPERUSER, Cluster
from config.postgres.creation import confine_roles
from config.postgres.lifetime import start_guard, wait_for_guard

TEMPLATE = DATABASE


class TestServer:
    """The guard of the run's server; everything it kept is thrown away at the end."""

    __test__ = False

    def __init__(self) -> None:
        self.home = home_from(os.environ)
        self.guard: subprocess.Popen[bytes]
        self.lifeline: Lifeline
        self.guard, self.lifeline = start_guard(os.environ)
        if not wait_for_guard(self.guard, Cluster(self.home)):
            raise RuntimeError("the tests' PostgreSQL did not start; its reason stands above")

    def stop(self) -> None:
        """End the server and remove its files."""
        self.lifeline.cut()
        self.guard.wait(90)
        shutil.rmtree(self.home.path, ignore_errors=True)


def create_worker_database(name: str) -> None:
    """A copy of the migrated template for this worker; the first worker migrates the template."""
    cluster = Cluster(home_from(os.environ))
    lock = lock_file(cluster.home.path / "template.lock")
    try:
        marker = cluster.home.path / "template-is-migrated"
        if not marker.exists():
            migrate_template()
            marker.touch()
        copy_template(cluster, name)
    finally:
        assert lock is not None
        os.close(lock)


def migrate_template() -> None:
    """All migrations, by the role that runs them in production."""
    own = connection.settings_dict["NAME"]
    _use_database(TEMPLATE)
    call_command("migrate", verbosity=0)
    connection.close()
    _use_database(own)


def copy_template(cluster: Cluster, name: str) -> None:
    """A database that equals the template, with the same rights."""
    with superuser(cluster, "postgres") as admin:
        admin.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                sql.Identifier(name), sql.Identifier(TEMPLATE), sql.Identifier(OWNER_ROLE)
            )
        )
    with superuser(cluster, name) as admin:
        confine_roles(admin, name)


def superuser(cluster: Cluster, database: str) -> psycopg.Connection:
    """A connection that may do anything, for arranging only."""
    return psycopg.connect(**cluster.connection_parameters(SUPERUSER, database), autocommit=True)


def _use_database(name: str) -> None:
    from django.conf import settings

    connection.close()
    connection.settings_dict["NAME"] = name
    assert settings.MIGRATION_DATABASE is not None
    settings.MIGRATION_DATABASE["NAME"] = name


def database_url(role: str, name: str) -> str:
    """``DATABASE_URL`` of one of the run's databases, for processes the tests start."""
    from urllib.parse import quote

    cluster = Cluster(Home(Path(os.environ["FLOWWATCH_DATA"]), os.geteuid() == 0))
    folder = quote(str(cluster.socket_folder), safe="")
    return f"postgresql://{role}:{quote(cluster.password(role))}@{folder}/{name}"
