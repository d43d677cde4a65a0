"""Making a cluster: initdb, its configuration, the two roles and the database."""

import locale
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
from psycopg import sql

from config.backup import turns
from config.postgres.binaries import Binaries, DatabaseUnavailable
from config.postgres.cluster import APP_ROLE, DATABASE, OWNER_ROLE, SUPERUSER, Cluster
from config.postgres.system_user import RunAs

CONFIGURATION = """\
# Written by Flowwatch at every start. Settings of your own go to the end of postgresql.conf.
fsync = on
full_page_writes = on
synchronous_commit = on
max_connections = 200
shared_buffers = 256MB
effective_cache_size = 1GB
work_mem = 8MB
maintenance_work_mem = 128MB
wal_compression = on
checkpoint_timeout = 10min
random_page_cost = 1.1
autovacuum_naptime = 20s
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
logging_collector = on
log_directory = 'log'
log_filename = 'postgresql-%a.log'
log_rotation_age = 1d
log_truncate_on_rotation = on
log_min_duration_statement = 2s
log_lock_waits = on
"""
_MEGABYTE = 1024 * 1024
# Segments have 16 MB, and PostgreSQL wants two at least.
_LEAST_LOG_MB, _MOST_LOG_MB = 64, 2048
INCLUDE = "\n# Flowwatch's settings; lines below this one win.\ninclude = 'flowwatch.conf'\n"


def create_cluster(cluster: Cluster, binaries: Binaries, run_as: RunAs) -> None:
    """Run initdb beside the final place and move the result there: half a cluster is never seen."""
    draft = cluster.folder / f"data.new.{os.getpid()}"
    run_as.folder(draft)
    with tempfile.NamedTemporaryFile("w", dir=draft.parent, prefix="password-") as password_file:
        password_file.write(cluster.password(SUPERUSER))
        password_file.flush()
        run_as.own(Path(password_file.name))
        answer = subprocess.run(
            [
                binaries.program("initdb"),
                f"--pgdata={draft}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file.name}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--data-checksums",
                "--no-instructions",
                *_locale_options(binaries.major),
            ],
            cwd=cluster.folder,
            capture_output=True,
            text=True,
            **run_as.process_options(),
        )
    if answer.returncode != 0:
        raise DatabaseUnavailable(f"The database can't be made:\n{answer.stderr.strip()}")
    with (draft / "postgresql.conf").open("a", encoding="utf-8") as configuration:
        configuration.write(INCLUDE)
    draft.rename(cluster.data)


def _locale_options(major: int) -> list[str]:
    """Code point order with full case folding, the same on every machine where that exists."""
    if major >= 17:
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    try:
        previous = locale.setlocale(locale.LC_CTYPE)
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
        locale.setlocale(locale.LC_CTYPE, previous)
    except locale.Error:
        return ["--locale=C"]
    return ["--locale=C.UTF-8"]


def write_configuration(cluster: Cluster, run_as: RunAs, text: str | None = None) -> None:
    """(Re)write the settings that belong to this version of Flowwatch.

    On a full disk what is there stays: half a file would be another configuration.
    """
    file = cluster.data / "flowwatch.conf"
    wanted = CONFIGURATION + _log_size(cluster.data) if text is None else text
    if file.exists() and file.read_text(encoding="utf-8") == wanted:
        return
    draft = file.with_suffix(".new")
    draft.write_text(wanted, encoding="utf-8")
    run_as.own(draft)
    draft.replace(file)


def _log_size(data: Path) -> str:
    """How much of its log of changes the server may keep: at most an eighth of a small disk."""
    disk = shutil.disk_usage((data / "pg_wal").resolve())
    most = min(max(disk.total // 8 // _MEGABYTE, _LEAST_LOG_MB), _MOST_LOG_MB)
    least = max(most // 8, _LEAST_LOG_MB // 2)
    return f"max_wal_size = {most}MB\nmin_wal_size = {least}MB\n"


def create_roles_and_database(cluster: Cluster) -> None:
    """Owner, app role and database, each when missing: an interrupted first start is completed.

    What a killed restore left is cleared up.
    """
    with psycopg.connect(
        **cluster.connection_parameters(SUPERUSER, "postgres"), autocommit=True
    ) as connection:
        for role in (OWNER_ROLE, APP_ROLE):
            _create_role(connection, role, cluster.password(role))
        if not _exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s", DATABASE):
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(DATABASE), sql.Identifier(OWNER_ROLE)
                )
            )
        if turns.take_turn(connection, DATABASE):
            turns.clear_up(connection, DATABASE)
    with psycopg.connect(**cluster.connection_parameters(SUPERUSER), autocommit=True) as connection:
        confine_roles(connection, DATABASE)


def confine_roles(
    connection: psycopg.Connection, database: str, owner: str = OWNER_ROLE, app: str = APP_ROLE
) -> None:
    """The owner alone makes objects in ``public``; only the two roles may connect."""
    names = {
        "database": sql.Identifier(database),
        "owner": sql.Identifier(owner),
        "app": sql.Identifier(app),
    }
    for statement in (
        "ALTER SCHEMA public OWNER TO {owner}",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        "GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {app}",
    ):
        connection.execute(sql.SQL(statement).format(**names))


def _create_role(connection: psycopg.Connection, role: str, password: str) -> None:
    if not _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", role):
        # Hashed on this side, so that no statement log can hold the password.
        hashed = connection.pgconn.encrypt_password(
            password.encode(), role.encode(), b"scram-sha-256"
        )
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(role), sql.Literal(hashed.decode())
            )
        )


def _exists(connection: psycopg.Connection, query: str, name: str) -> bool:
    return connection.execute(query.encode(), [name]).fetchone() is not None
