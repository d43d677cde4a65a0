"""What statements beside the ORM need: psycopg's own cursor, and rows as arrays."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection


@contextmanager
def cursor() -> Iterator[psycopg.Cursor[Any]]:
    """A server-side binding cursor on Django's connection; errors become Django's."""
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as raw:
        yield raw


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows as one list for each column, as `unnest` takes them."""
    return [list(column) for column in zip(*rows, strict=True)]


def database_now() -> dt.datetime:
    """The database's clock, the same for all hosts and processes."""
    with cursor() as db:
        db.execute("SELECT clock_timestamp()")
        row = db.fetchone()
    assert row is not None
    now: dt.datetime = row[0]
    return now
