"""Faults of the product that the tests of whole trees must catch."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections

from config import soundness, waiting
from config.bodies import BodyReader
from config.pooling import silence
from config.pooling.base import IdleConnections, _Idle
from config.pooling.silence import ImpatientConnection, Silence
from monitoring import disk
from monitoring.recording import quota


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


def wait_for_a_thread() -> None:
    """Whoever comes waits for a thread, however many there are."""
    waiting.MOST = 10**6  # type: ignore[misc]
    for lane in waiting.Lane:
        waiting.BOUNDS[lane] = waiting.Bounds(full=10**6, longest=10**6)


def no_quota() -> None:
    """As many as come, whatever the tenant may."""
    quota.quota_of = lambda tenant: None


def wait_for_bodies() -> None:
    """Nobody looks how slowly a body comes."""
    BodyReader._look = lambda self, loop: None  # type: ignore[method-assign]


def wait_for_statements() -> None:
    """A statement of the web may take as long as it likes, and so may the answer to it."""
    wait_for_ever()
    options = connections.settings["default"]["OPTIONS"]
    options["options"] = options["options"].replace("statement_timeout=10s", "statement_timeout=0")


PRODUCT_MUTANTS: dict[str, Callable[[], None]] = {
    "async-commit": async_commit,
    "watch-no-disk": watch_no_disk,
    "wait-for-a-thread": wait_for_a_thread,
    "no-quota": no_quota,
    "wait-for-bodies": wait_for_bodies,
    "wait-for-statements": wait_for_statements,
    "keep-broken-connections": keep_broken_connections,
    "wait-for-ever": wait_for_ever,
}
