"""Faults of the product that the tests of whole trees must catch."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections

from config import soundness
from config.pooling import silence
from config.pooling.base import IdleConnections, _Idle
from config.pooling.silence import ImpatientConnection, Silence
from monitoring import disk


def async_commit() -> None:
    """PostgreSQL answers a commit before it is on the disk, and nobody minds."""
    del soundness.DURABILITY["synchronous_commit"]
    options = connections.settings["default"]["OPTIONS"]
    options["options"] += " -c synchronous_commit=off"


def keep_broken_connections() -> None:
    """Threads of the web give back what they borrowed and take it again, whether it lives or not."""

    def take(self: IdleConnections) -> ImpatientConnection | None:
        with self._lock:
            return self._stack.pop().connection if self._stack else None

    def give(self: IdleConnections, connection: ImpatientConnection) -> None:
        with self._lock:
            self._stack.append(_Idle(connection, 0.0))

    IdleConnections.take = take  # type: ignore[method-assign]
    IdleConnections.give = give  # type: ignore[method-assign]


def watch_no_disk() -> None:
    """Nobody looks how full the disk is."""
    disk.database_disk = lambda: None


def wait_for_ever() -> None:
    """A database that hangs keeps every thread of the web that asks it."""
    Silence.begin = lambda self, parameters: None  # type: ignore[method-assign]
    ImpatientConnection.patience = 1e6
    silence.ANSWER_SECONDS = silence.ECHO_SECONDS = 1e6  # type: ignore[misc]


PRODUCT_MUTANTS: dict[str, Callable[[], None]] = {
    "async-commit": async_commit,
    "watch-no-disk": watch_no_disk,
    "keep-broken-connections": keep_broken_connections,
    "wait-for-ever": wait_for_ever,
}
