"""Questions that pages ask again and again: parsed and planned once for each connection.

Planning over every weekly partition costs more than answering. A prepared statement keeps its plan
(`config.database` makes it a generic one); partitions are then left out when it runs, by its
parameters. What only a constant tells the planner, such as the condition of a partial index, must
stand in the text. A plan that was made while a partition was small is made anew when that is analyzed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import psycopg
from django.db import connection
from psycopg.abc import Params
from psycopg.pq import TransactionStatus


class _PreparedCursor(psycopg.Cursor[tuple[Any, ...]]):
    """Binds parameters in the server, unlike Django's own, and keeps the plan.

    A plan whose columns have changed their type since, by a migration, is refused for ever: then all
    are forgotten and the statement is asked once more. Inside a transaction that is over anyway,
    whose end forgets them.
    """

    def execute(self, query: Any, params: Params | None = None, **options: Any) -> Self:
        options = {"prepare": True} | options
        try:
            return super().execute(query, params, **options)
        except psycopg.errors.FeatureNotSupported:
            if self.connection.info.transaction_status != TransactionStatus.IDLE:
                raise
            self.connection.execute("DEALLOCATE ALL")  # psycopg sees it and forgets them as well
            return super().execute(query, params, **options)


def fetch_all(statement: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of a statement, which Django counts, logs and translates errors of as usual.

    Use few different texts: a connection keeps the plans of the hundred used last.
    """
    connection.ensure_connection()
    bare: Any = _PreparedCursor(connection.connection)
    wrap = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    with wrap(bare) as cursor:
        cursor.execute(statement, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


@contextmanager
def prepared() -> Iterator[None]:
    """Prepare what Django's querysets ask inside the block as well.

    Not for questions by status: only its number in the text leads to the index of all but successes.
    """
    with connection.execute_wrapper(_bound_in_server):
        yield


def _bound_in_server(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    context["cursor"].cursor = _PreparedCursor(connection.connection)
    return execute(sql, params, many, context)
