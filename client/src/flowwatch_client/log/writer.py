"""Writes rows without ever failing the workflow: at once (committed) or soon (buffered).

Rows that the file did not take (full disk, locked, read-only) are kept in memory, bounded, and tried
again with the next ones; they are accepted when they are committed. What no memory is left for, and
rows that no file would take (of an execution that was deleted meanwhile), are counted as `lost`, beside
the sum of accepted records; the logger tells of the first at once and of their number at the end.
"""

from __future__ import annotations

import collections
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence

from flowwatch_client.log import outbox
from flowwatch_client.log.connection import Reentered, is_mine
from flowwatch_client.log.log import Log
from flowwatch_client.log.schema import NewerFile
from flowwatch_client.rows import NodeRow, Row
from flowwatch_client.saying import say
from flowwatch_client.signals import raised_by_handler

_BAD_ROW = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
"""Of the errors of SQLite, those that a row is to blame for."""
_TROUBLE = (sqlite3.Error, NewerFile, OSError)

FLUSH_SECONDS = 0.2
"""How old a buffered row gets before it is committed."""
LOOK_SECONDS = 1.0
"""How often to look whether the file is still there."""
MOST_KEPT = 10_000
"""Rows in memory."""
MOST_CHARACTERS_KEPT = 32 * 1024 * 1024
"""Of their values."""
_AT_ONCE = 500


class Writer:
    """Takes rows from any thread, in the order they come. Never raises, never waits for a server.

    `prepare` is called for each row before it is committed: it finishes what was put off. `running`
    gives the rows that a new file needs when the log's file was deleted or replaced.
    """

    def __init__(
        self,
        log: Log,
        *,
        buffered: bool = False,
        prepare: Callable[[Row], None] | None = None,
        running: Callable[[], Sequence[Row]] = tuple,
    ) -> None:
        self._log = log
        self._buffered = buffered
        self._prepare = prepare
        self._running = running
        self._begin_anew: Sequence[Row] = ()
        self._look_at = 0.0
        self._replaced = 0
        self._unsure = 0
        self._missed = False
        self._kept: collections.deque[Row] = collections.deque()
        self._characters = 0
        self._turn = threading.RLock()
        self._in_trouble = False
        self._singly = 0
        self.lost = 0
        self._told = 0
        self._said_lost = 0

    def write(self, *rows: Row) -> None:
        """Accept the rows: when this returns they are committed, unless buffered or the file fails."""
        if not self._buffered and not self._kept:
            try:
                self._store(rows)
                return
            except Reentered:
                pass
            except BaseException as error:  # whatever a row does, the workflow goes on
                if not isinstance(error, Exception) or raised_by_handler(error):
                    for row in rows:  # those that are committed already are changed once more
                        self._keep(row)
                    raise
                if _is_trouble(error):
                    self._complain(error)
        for row in rows:
            self._keep(row)
        if not self._buffered:
            self.commit_soon()

    def commit_soon(self) -> None:
        """Commit what is kept; but while the file is in trouble, each try of which may wait for a lock,
        leave it to whoever calls `flush`.
        """
        if not self._in_trouble:
            self.flush()

    def flush(self) -> bool:
        """Commit what is kept, as much as goes; whether nothing is left."""
        # A signal's handler, or a finalizer, in the middle of the same, or of what others wait for.
        if is_mine(self._turn) or self._log.connection.is_in_use_here:
            return False
        if self._kept or self._unsure:
            self._look()
        with self._turn:
            if not self._flush():
                return False
        self._in_trouble = False
        return True

    def _flush(self) -> bool:
        while self._kept:
            most = 1 if self._singly else _AT_ONCE
            part = [self._kept[at] for at in range(min(most, len(self._kept)))]
            try:
                self._store(part)
            except Reentered:
                return False
            except Exception as error:  # a bad row must not hold up all others
                if raised_by_handler(error):
                    raise
                if _is_trouble(error):
                    self._complain(error)
                    return False
                if len(part) > 1:
                    self._singly = len(part)  # one of them is bad, and takes no other with it
                    continue
                self._lose(error)
            self._singly = max(self._singly - 1, 0)
            for _ in part:
                self._characters -= _characters_of(self._kept.popleft())
        self._characters = 0
        self._tell_lost()
        return True

    def _tell_lost(self) -> None:
        """Count what was lost in the file, when it takes something again, for `stats` to tell."""
        lost = self.lost

        def remember() -> None:
            self._told = lost

        if lost != self._told:
            try:
                self._log.connection.write(
                    lambda connection: outbox.count(connection, "lost", lost - self._told),
                    committed=remember,
                )
            except (Reentered, *_TROUBLE) as error:  # the next flush does it
                if raised_by_handler(error):
                    raise

    def _store(self, rows: Sequence[Row]) -> None:
        if self._prepare is not None:
            for row in rows:
                self._prepare(row)
        if time.monotonic() >= self._look_at:
            self._look()
        self._log.write([*self._begin_anew, *rows])
        self._begin_anew = ()
        self._unsure += len(rows)

    def has_missed(self) -> bool:
        """Whether committed rows are gone with their file since this was asked last."""
        missed, self._missed = self._missed, False
        return missed

    def _look(self) -> None:
        """What was committed since the file was last seen at its place is lost when it is gone."""
        connection = self._log.connection
        if connection.is_in_use_here:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        connection.look()
        if connection.replaced == self._replaced:
            self._unsure = 0
            return
        with self._turn:
            if connection.replaced == self._replaced:  # another thread was first
                return
            self._replaced = connection.replaced
            lost, self._unsure = self._unsure, 0
            self.lost += lost
            self._said_lost += lost
            self._missed = self._missed or lost > 0
            for row in [*self._kept]:
                if isinstance(row, NodeRow):
                    row.row_id = None
            self._begin_anew = self._running()
        told = "The log %s was deleted or replaced: it begins anew, %s rows are lost with it"
        say(logging.WARNING, told, self._log.path, lost)

    def _keep(self, row: Row) -> None:
        """Buffered rows that come faster than the background commits are committed by who brings them."""
        characters = _characters_of(row)
        if not self._has_room(characters) and (
            not self._buffered or self._in_trouble or not self.flush()
        ):
            self._lose("no memory is left for it")
            return
        self._kept.append(row)
        self._characters += characters

    def _has_room(self, characters: int) -> bool:
        return len(self._kept) < MOST_KEPT and self._characters + characters <= MOST_CHARACTERS_KEPT

    def _complain(self, error: Exception) -> None:
        if not self._in_trouble:
            self._in_trouble = True
            say(logging.WARNING, "The log %s takes nothing now: %s", self._log.path, error)

    def _lose(self, why: object) -> None:
        self.lost += 1
        if not self._said_lost:
            self._said_lost = 1
            say(logging.WARNING, "A row for the log %s is lost: %s", self._log.path, why)

    def say_lost(self) -> None:
        """Say how many rows are lost, if more than were said: this process ends, and what it keeps."""
        lost = self.lost + len(self._kept)
        if lost > self._said_lost:
            self._said_lost = lost
            told = "The log %s never got all: %s rows lost in all"
            say(logging.WARNING, told, self._log.path, lost)

    def after_fork(self) -> None:
        """In the child: what the parent still keeps is the parent's."""
        self._kept = collections.deque()
        self._characters = 0
        self._turn = threading.RLock()
        self._singly = 0
        self._begin_anew = ()
        self._unsure = 0
        self._missed = False
        self.lost = 0
        self._told = 0
        self._said_lost = 0


def _is_trouble(error: Exception) -> bool:
    """Whether the file is to blame, which may take the row later; otherwise the row is."""
    return isinstance(error, _TROUBLE) and not isinstance(error, _BAD_ROW)


def _characters_of(row: Row) -> int:
    try:
        return row.size
    except TypeError:  # values that are no texts
        return 0
