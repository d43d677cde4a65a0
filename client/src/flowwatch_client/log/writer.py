"""Writes rows without ever failing the workflow: at once (committed) or soon (buffered).

Rows that the file did not take (full disk, locked, read-only) are kept in memory, bounded, and tried
again with the next ones; they are accepted when they are committed. What no memory is left for, and
rows that no file would take (of an execution that was deleted meanwhile), are counted as `lost`, beside
the sum of accepted records, and said once on the logger.
"""

from __future__ import annotations

import collections
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence

from flowwatch_client.log import outbox
from flowwatch_client.log.connection import Reentered
from flowwatch_client.log.log import Log
from flowwatch_client.log.schema import NewerFile
from flowwatch_client.rows import Row
from flowwatch_client.signals import raised_by_handler

logger = logging.getLogger("flowwatch_client")

_BAD_ROW = (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, ValueError)
"""This row will never be taken."""
_TROUBLE = (sqlite3.Error, NewerFile, OSError)
_ANY = (*_BAD_ROW, *_TROUBLE)

FLUSH_SECONDS = 0.2
"""How old a buffered row gets before it is committed."""
MOST_KEPT = 10_000
"""Rows in memory."""
MOST_CHARACTERS_KEPT = 32 * 1024 * 1024
"""Of their values."""
_AT_ONCE = 500


class Writer:
    """Takes rows from any thread, in the order they come. Never raises, never waits for a server.

    `prepare` is called for each row before it is committed: it finishes what was put off.
    """

    def __init__(
        self, log: Log, *, buffered: bool = False, prepare: Callable[[Row], None] | None = None
    ) -> None:
        self._log = log
        self._buffered = buffered
        self._prepare = prepare
        self._kept: collections.deque[Row] = collections.deque()
        self._characters = 0
        self._turn = threading.RLock()
        self._flushing = False
        self._said = False
        self.lost = 0
        self._told = 0

    def write(self, *rows: Row) -> None:
        """Accept the rows: when this returns they are committed, unless buffered or the file fails."""
        if not self._buffered and not self._kept:
            try:
                self._store(rows)
                return
            except (*_BAD_ROW, Reentered):
                pass
            except _TROUBLE as error:
                if raised_by_handler(error):
                    raise
                self._complain(error)
        for row in rows:
            self._keep(row)
        # While the file is in trouble each try may wait for a lock: the background does that.
        if not self._buffered and not self._said:
            self.flush()

    def flush(self) -> bool:
        """Commit what is kept, as much as goes; whether nothing is left."""
        with self._turn:
            if self._flushing:  # a signal's handler, or a finalizer, in the middle of the same
                return False
            self._flushing = True
            try:
                if not self._flush():
                    return False
            finally:
                self._flushing = False
        self._said = False
        return True

    def _flush(self) -> bool:
        while self._kept:
            part = [self._kept[at] for at in range(min(_AT_ONCE, len(self._kept)))]
            try:
                self._commit(part)
            except Reentered:
                return False
            except _TROUBLE as error:
                self._complain(error)
                return False
            for _ in part:
                self._characters -= self._kept.popleft().size
        self._characters = 0
        self._tell_lost()
        return True

    def _tell_lost(self) -> None:
        """Count what was lost in the file, when it takes something again, for `stats` to tell."""
        lost = self.lost - self._told
        if lost:
            try:
                with self._log.connection.transaction() as connection:
                    outbox.count(connection, "lost", lost)
            except (Reentered, *_TROUBLE):
                return
            self._told += lost

    def _commit(self, rows: Sequence[Row]) -> None:
        try:
            self._store(rows)
        except _BAD_ROW as error:
            if len(rows) == 1:
                self.lost += 1
                self._complain(error)
                return
            for row in rows:
                self._commit([row])

    def _store(self, rows: Sequence[Row]) -> None:
        if self._prepare is not None:
            for row in rows:
                self._prepare(row)
        self._log.write(rows)

    def _keep(self, row: Row) -> None:
        """Buffered rows that come faster than the background commits are committed by who brings them."""
        characters = row.size
        if not self._has_room(characters) and (
            not self._buffered or self._said or not self.flush()
        ):
            self.lost += 1
            return
        self._kept.append(row)
        self._characters += characters

    def _has_room(self, characters: int) -> bool:
        return len(self._kept) < MOST_KEPT and self._characters + characters <= MOST_CHARACTERS_KEPT

    def _complain(self, error: Exception) -> None:
        if not self._said:
            self._said = True
            logger.warning("The log %s takes nothing now: %s", self._log.path, error)

    def after_fork(self) -> None:
        """In the child: what the parent still keeps is the parent's."""
        self._kept = collections.deque()
        self._characters = 0
        self._turn = threading.RLock()
        self._flushing = False
        self.lost = 0
        self._told = 0
