"""Keeps the log's files within a bound: what is old goes first, and what was sent before what was not.

In this order, the oldest first, until there is room: executions of which everything was sent; those of
which something was refused and nothing waits; finished ones that wait; and those that never ended and
began a week ago or earlier (their process was killed). One that runs is never deleted, so that a single
execution may outgrow the bound. What was not sent counts as dropped, and as `dropped_for_room` beside it.
"""

from __future__ import annotations

import dataclasses
import logging
import sqlite3
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

from flowwatch_client.log import outbox
from flowwatch_client.log.connection import Connection
from flowwatch_client.log.log import Log
from flowwatch_client.log.outbox import Held
from flowwatch_client.rows import UNFINISHED
from flowwatch_client.saying import say

DROPPED_FOR_ROOM = "dropped_for_room"
"""The counter of records that were dropped here; they are among the dropped ones."""

_USED = 0.8
"""Deleting goes on until so much of the bound is used, so that it is not needed again at once."""
_FILE = 0.9
"""How much of the bound the main file may take; the rest is for its write-ahead log."""
_AT_ONCE = 500
_TRANSACTION_SECONDS = 0.02
"""How long one deletion goes on while writers wait."""
_VACUUM_PAGES = 250
_FORGOTTEN = timedelta(days=7)
_AGAIN_SECONDS = 60.0
_in_vain: dict[Path, float] = {}
"""Logs that hold nothing that may go, and when (monotonic) to look again."""


def keep_bounded(log: Log, most_bytes: int) -> None:
    """Delete so much that the files take `most_bytes` at most; cheap when they do.

    Raises sqlite3.Error, OSError.
    """
    if log_bytes(log) <= most_bytes or time.monotonic() < _in_vain.get(log.path, 0.0):
        return
    own = Connection(log.path)  # the workflow's threads don't wait for what is only read here
    try:
        own.checkpoint(truncate=True)
        if log.path.stat().st_size > most_bytes * _FILE:
            _Room(log, own, most_bytes).make()
            own.checkpoint(truncate=True)
    finally:
        own.close()


def log_bytes(log: Log) -> int:
    """What the log's files take of the disk."""
    paths = (log.path, log.path.with_name(f"{log.path.name}-wal"))
    return sum(path.stat().st_size for path in paths if path.exists())


@dataclasses.dataclass(frozen=True)
class _Policy:
    """Which executions may go."""

    ended: bool = True
    may_wait: bool = False
    may_be_refused: bool = False

    def condition(self) -> tuple[str, tuple[str, ...]]:
        """Of SQL, about the execution's own row, with its values."""
        marks = ", ".join("?" * len(UNFINISHED))
        if self.ended:
            return f"status NOT IN ({marks})", UNFINISHED
        long_ago = (datetime.now(timezone.utc) - _FORGOTTEN).isoformat(timespec="microseconds")
        return f"status IN ({marks}) AND started_at < ?", (*UNFINISHED, long_ago)

    def candidates(self, connection: sqlite3.Connection) -> list[str]:
        """The oldest, at most 500."""
        condition, values = self.condition()
        if not self.may_wait:
            condition += " AND id NOT IN (SELECT execution_id FROM outbox)"
        if not self.may_be_refused:
            condition += " AND id NOT IN (SELECT execution_id FROM dead_letters)"
        found = connection.execute(
            f"SELECT id FROM executions WHERE {condition} ORDER BY started_at, id LIMIT ?",
            (*values, _AT_ONCE),
        )
        return [each for (each,) in found]

    def allows(self, records: Held) -> bool:
        return (self.may_wait or not records.waiting) and (
            self.may_be_refused or not records.refused
        )


_POLICIES = (
    _Policy(),
    _Policy(may_be_refused=True),
    _Policy(may_be_refused=True, may_wait=True),
    _Policy(may_be_refused=True, may_wait=True, ended=False),
)


class _Room:
    """Makes room in one log that is too large."""

    def __init__(self, log: Log, own: Connection, most_bytes: int) -> None:
        self._log = log
        self._own = own
        self._most = most_bytes
        self._dropped = 0

    def make(self) -> None:
        enough = any(self._delete_all(policy) for policy in _POLICIES)
        self._give_back()
        if self._dropped:
            self._warn(f"{self._dropped} records that were not sent are dropped")
        if enough:
            _in_vain.pop(self._log.path, None)
            return
        if self._log.path not in _in_vain:
            self._warn("what it holds still runs and is kept")
        _in_vain[self._log.path] = time.monotonic() + _AGAIN_SECONDS

    def _warn(self, what: str) -> None:
        megabytes = self._most / 1024**2
        say(logging.WARNING, "The log %s has reached %g MB: %s.", self._log.path, megabytes, what)

    def _delete_all(self, policy: _Policy) -> bool:
        """Delete what may go, as long as there is any and too little room; whether that is made."""
        while True:
            with self._own.reading() as connection:
                if self._is_enough(connection):
                    return True
                ids = policy.candidates(connection)
            deleted = 0
            while ids:
                looked_at, deleted_now = self._delete_some(ids, policy)
                ids = ids[looked_at:]
                deleted += deleted_now
                if not looked_at:
                    return True
            if not deleted:
                return False

    def _delete_some(self, ids: Sequence[str], policy: _Policy) -> tuple[int, int]:
        """One short transaction: how many were looked at (none: there is room), how many deleted."""
        condition, values = policy.condition()
        deleted = 0
        with self._log.connection.transaction() as connection:
            held = outbox.held(connection, ids)  # more may have been written since they were chosen
            until = time.monotonic() + _TRANSACTION_SECONDS
            for at, each in enumerate(ids):
                if self._is_enough(connection) or (at and time.monotonic() > until):
                    return at, deleted
                records = held.get(each, Held())
                if not policy.allows(records):
                    continue
                gone = connection.execute(
                    f"DELETE FROM executions WHERE id = ? AND {condition}", (each, *values)
                ).rowcount
                if gone:
                    deleted += 1
                    self._drop(connection, records)
        return len(ids), deleted

    def _drop(self, connection: sqlite3.Connection, records: Held) -> None:
        dropped = outbox.drop_held(connection, records)
        outbox.count(connection, DROPPED_FOR_ROOM, dropped)
        self._dropped += dropped

    def _is_enough(self, connection: sqlite3.Connection) -> bool:
        free = _ask(connection, "freelist_count")
        used = (_ask(connection, "page_count") - free) * _ask(connection, "page_size")
        return used <= self._most * _USED

    def _give_back(self) -> None:
        """Give the file system what is free and more than may be kept."""
        while True:
            with self._log.connection.transaction() as connection:
                pages = _ask(connection, "page_count")
                too_many = pages - int(self._most * _FILE) // _ask(connection, "page_size")
                if too_many <= 0:
                    return
                steps = min(too_many, _VACUUM_PAGES)
                connection.execute(f"PRAGMA incremental_vacuum({steps})").fetchall()
                if _ask(connection, "page_count") == pages:
                    return


def _ask(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
