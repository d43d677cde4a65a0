"""One database of ours and who may do what there, for `pg_dump`, `pg_restore` and psycopg alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import psycopg
from django.conf import settings
from psycopg import conninfo, pq, sql

from config.postgres.cluster import APP_ROLE, OWNER_ROLE, SUPERUSER, Cluster

Parameters = dict[str, Any]

MAINTENANCE_DATABASE = "postgres"
_LIMITS = ("idle_in_transaction_session_timeout", "idle_session_timeout", "statement_timeout")


class Refused(Exception):
    """A backup or restore ends without having done it; the message says why and what to do.

    Data that were there before are as they were. Where no database may be made beside, the empty one may
    now hold what was found to be wrong.
    """


@dataclass(frozen=True, slots=True)
class Place:
    """A database as its owner reaches it, in libpq's parameters.

    `app_role` is the role that uses it (the owner itself where one role is both). `admin` reaches
    the same server's maintenance database as who may create and rename databases; None where nobody
    known may.
    """

    owner: Parameters
    app_role: str
    admin: Parameters | None

    @property
    def database(self) -> str:
        """The database's name."""
        return str(self.owner["dbname"])

    @property
    def owner_role(self) -> str:
        """The role that owns all objects."""
        return str(self.owner["user"])

    def renamed(self, database: str) -> Place:
        """Another database of the same server and roles."""
        return replace(self, owner={**self.owner, "dbname": database})

    def connect(self) -> psycopg.Connection[Any]:
        """A session of the owner. Raises :class:`Refused` when the database can't be reached."""
        return _connect(self.owner)

    def connect_admin(self) -> psycopg.Connection[Any]:
        """A session of who may create and rename databases. Raises :class:`Refused` like the other."""
        assert self.admin is not None
        return _connect(self.admin)

    def connect_server(self) -> psycopg.Connection[Any]:
        """A session for questions about the server, also while nobody may connect to the database."""
        return self.connect() if self.admin is None else self.connect_admin()

    def for_programs(self) -> tuple[str, dict[str, str]]:
        """`--dbname` of PostgreSQL's programs, and the variables that keep the password off it."""
        parameters = dict(self.owner)
        password = str(parameters.pop("password", ""))
        return conninfo.make_conninfo(**parameters), {"PGPASSWORD": password}


def of_cluster(cluster: Cluster) -> Place:
    """The embedded database of a cluster whose server runs."""
    return Place(
        cluster.connection_parameters(OWNER_ROLE),
        APP_ROLE,
        cluster.connection_parameters(SUPERUSER, MAINTENANCE_DATABASE),
    )


def of_settings() -> Place:
    """The database that Django's settings name."""
    app = settings.DATABASES["default"]
    owner = _libpq({**app, **(settings.MIGRATION_DATABASE or {})})
    if settings.EMBEDDED_DATABASE:
        embedded = of_cluster(Cluster(settings.HOME))
        return replace(embedded.renamed(owner["dbname"]), app_role=settings.APP_ROLE)
    return Place(owner, settings.APP_ROLE, _admin_beside(owner))


def _connect(parameters: Parameters) -> psycopg.Connection[Any]:
    """A session that commits each statement and is cut off by no time limit."""
    try:
        session = psycopg.connect(**parameters, autocommit=True)
    except psycopg.OperationalError as error:
        raise Refused(f"The database can't be reached: {error}") from error
    for limit in _LIMITS:
        session.execute(sql.SQL("SET {} = 0").format(sql.Identifier(limit)))
    return session


def _libpq(django: Parameters) -> Parameters:
    """Django's settings as libpq's; without `options`, which hold the limits of our processes."""
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()} - {"options"}
    given = {name: value for name, value in django.get("OPTIONS", {}).items() if name in known}
    named = {
        "host": django["HOST"],
        "port": django["PORT"],
        "user": django["USER"],
        "password": django["PASSWORD"],
        "dbname": django["NAME"],
    }
    return given | {name: value for name, value in named.items() if value}


def _admin_beside(owner: Parameters) -> Parameters | None:
    """The owner on the maintenance database, when it may create databases."""
    admin = {**owner, "dbname": MAINTENANCE_DATABASE}
    try:
        with psycopg.connect(**admin) as session:
            row = session.execute(
                "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
    except psycopg.OperationalError:
        return None
    return admin if row == (True,) else None
