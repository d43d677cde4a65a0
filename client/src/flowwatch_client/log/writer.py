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
from collections.abc import Sequence

from flowwatch_client.log.log import Log
from flowwatch_client.log.schema import NewerFile
from flowwatch_client.rows import Row

logger = logging.getLogger("flowwatch_client")

_BAD_ROW = (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, ValueError)
"""This row will never be taken."""
_TROUBLE = (sqlite3.Error, NewerFile, OSError)
_ANY = (*_BAD_ROW, *_TROUBLE)

FLUSH_SECONDS = 0.2
"""How old a buffered row gets before it is committed."""
MOST_KEPT = 10_000
"""Rows in memory, of which each has at most 2 × 256 KB of values, mostly a few KB."""
_AT_ONCE = 500


class Writer:
    """Takes rows from any thread, in the order they come. Never raises, never waits for a server."""

    def __init__(self, log: Log, *, buffered: bool = False) -> None:
        self._log = log
        self._buffered = buffered
        self._kept: collections.deque[Row] = collections.deque()
        self._turn = threading.Lock()
        self._said = False
        self.lost = 0

    def write(self, *rows: Row) -> None:
        """Accept the rows: when this returns they are committed, unless buffered or the file fails."""
        if not self._buffered and not self._kept:
            try:
                self._log.write(rows)
                return
            except _ANY as error:
                self._complain(error)
        self._keep(rows)
        if not self._buffered:
            self.flush()

    def flush(self) -> bool:
        """Commit what is kept, as much as goes; whether nothing is left."""
        with self._turn:
            while self._kept:
                part = [self._kept[at] for at in range(min(_AT_ONCE, len(self._kept)))]
                try:
                    self._commit(part)
                except _TROUBLE as error:
                    self._complain(error)
                    return False
                for _ in part:
                    self._kept.popleft()
        self._said = False
        return True

    def _commit(self, rows: list[Row]) -> None:
        try:
            self._log.write(rows)
        except _BAD_ROW as error:
            if len(rows) == 1:
                self.lost += 1
                self._complain(error)
                return
            for row in rows:
                self._commit([row])

    def _keep(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if len(self._kept) >= MOST_KEPT:
                self.lost += 1
            else:
                self._kept.append(row)

    def _complain(self, error: Exception) -> None:
        if not self._said:
            self._said = True
            logger.warning("The log %s takes nothing now: %s", self._log.path, error)

    def after_fork(self) -> None:
        """In the child: what the parent still keeps is the parent's."""
        self._kept = collections.deque()
        self._turn = threading.Lock()
        self.lost = 0
