"""Connections that outlive a request, for the threads of one web process.

Each thread uses one at a time, so there are never more than threads and nothing has to wait for
one. After the database was away the first request has a new connection: psycopg's own pool instead
draws dead ones with growing pauses, and its connecting in the background backs off for minutes.
A database that hangs refuses nobody by itself: see `config.pooling.silence`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from django.db.backends.postgresql import base
from psycopg.pq import TransactionStatus

from config.pooling.silence import ImpatientConnection, silence

IDLE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class _Idle:
    """A connection that nobody uses, and since when."""

    connection: ImpatientConnection
    since: float


class IdleConnections:
    """What threads gave back, the last one on top: few stay in use, with the plans they made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stack: list[_Idle] = []

    def take(self) -> ImpatientConnection | None:
        """One that the server answers on, None when there is none: make a new one.

        One that is dead tells of all others, so they are closed instead of tried.
        """
        with self._lock:
            top = self._stack.pop() if self._stack else None
        if top is None:
            return None
        if not _answers(top.connection):
            top.connection.close()
            self.close()
            return None
        return top.connection

    def give(self, connection: ImpatientConnection) -> None:
        """Keep it for the next; close it when it is not as new, and what was idle for long."""
        now = time.monotonic()
        stale = []
        with self._lock:
            if connection.info.transaction_status == TransactionStatus.IDLE:
                self._stack.append(_Idle(connection, now))
            else:
                stale.append(connection)
            while self._stack[:-1] and now - self._stack[0].since > IDLE_SECONDS:
                stale.append(self._stack.pop(0).connection)
        for each in stale:
            each.close()

    def close(self) -> None:
        """Close all that nobody uses."""
        with self._lock:
            found, self._stack = self._stack, []
        for idle in found:
            idle.connection.close()


def _answers(connection: ImpatientConnection) -> bool:
    try:
        with connection.waiting_for_an_echo():
            connection.execute("")
    except psycopg.Error:
        return False
    return True


idle_connections = IdleConnections()


class DatabaseWrapper(base.DatabaseWrapper):
    """One thread's connection, borrowed when it first asks something and given back by ``close``."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> ImpatientConnection:
        """An idle connection of the same role or a new one. There is one database."""
        silence.refuse()
        found = idle_connections.take()
        if found is not None:
            if found.info.user == conn_params.get("user", found.info.user):
                return found
            found.close()  # `config.roles.as_owner` has changed who asks
        silence.refuse()  # the idle one may just have told
        try:
            made = super().get_new_connection(conn_params)
        except psycopg.errors.ConnectionTimeout:
            silence.begin(conn_params)
            raise
        made.__class__ = ImpatientConnection  # Django knows `psycopg.connect` only
        made.parameters = conn_params
        made.autocommit = True  # so that looking whether it lives opens no transaction
        return cast(ImpatientConnection, made)

    def _close(self) -> None:
        if self.connection is not None:
            with self.wrap_database_errors:
                idle_connections.give(self.connection)
