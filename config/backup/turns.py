"""One restore of a database at a time, and what one that was killed left on the server.

The session that works is connected to the server's maintenance database: a restore closes its own.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

Session = psycopg.Connection[Any]


def restoring_name(database: str) -> str:
    """The database that a restore fills, before it takes the name."""
    return f"{database}_restoring"


def replaced_name(database: str) -> str:
    """What the old database is called from then until it is dropped."""
    return f"{database}_replaced"


def take_turn(session: Session, database: str) -> bool:
    """Whether nobody else restores this database; nobody does while this session lasts."""
    [(taken,)] = session.execute(
        "SELECT pg_try_advisory_lock(hashtextextended('flowwatch restore of ' || %s, 0))",
        [database],
    ).fetchall()
    return bool(taken)


def allow_connections(session: Session, database: str, allowed: bool) -> None:
    """Open a database, or close it to all who are not connected yet."""
    session.execute(
        sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}").format(
            sql.Identifier(database), sql.Literal(allowed)
        )
    )


def clear_up(session: Session, database: str) -> None:
    """Open what a killed restore left closed, and drop what it had made.

    For who has the turn. A database of one of our names is dropped only beside one that is closed:
    it could be somebody else's.
    """
    closed = {
        name
        for (name,) in session.execute(
            "SELECT datname FROM pg_database WHERE NOT datallowconn AND datname = ANY(%s)",
            [[database, replaced_name(database)]],
        ).fetchall()
    }
    if database in closed:
        drop(session, restoring_name(database))
        allow_connections(session, database, True)
    if replaced_name(database) in closed:
        drop(session, replaced_name(database))


def drop(session: Session, database: str) -> None:
    """Drop it, with whoever is connected, if it exists."""
    session.execute(
        sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
    )
