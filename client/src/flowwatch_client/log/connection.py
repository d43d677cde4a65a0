"""Connections to the log's file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from flowwatch_client.log.schema import prepare
from flowwatch_client.signals import raised_by_handler

_T = TypeVar("_T")

IN_MEMORY = ":memory:"
"""SQLite's name for a file that is none."""
BUSY_SECONDS = 1.0
"""How long a writer waits for another process's commit; after that rows are kept in memory."""
_AGAIN_SECONDS = 0.02
_FORK_SECONDS = 5.0


class Reentered(sqlite3.OperationalError):
    """The thread is in the middle of using this connection already.

    A signal's handler, or a finalizer that the garbage collector calls, may write at any moment.
    """


class Connection:
    """One connection, shared by the threads of a process, one transaction at a time.

    Opened when it is first needed, and closed before each fork: SQLite keeps locks for each process in
    its own memory, so that a child with an inherited connection, even an unused one, believes to hold
    locks that it does not have. Parent and child open it again.

    Threads of the workflow use `write` and `read`: a signal's handler may raise between any two calls
    there, and a `with` that is written in Python is never left when that happens at its very border.
    """

    def __init__(
        self, path: Path, *, durable: bool = False, busy_seconds: float = BUSY_SECONDS
    ) -> None:
        self.path = path
        self._durable = durable
        self._busy_seconds = busy_seconds
        self._lock = threading.RLock()
        self._opened: sqlite3.Connection | None = None
        self.file: tuple[int, int] | None = None
        """Device and number of the file that was opened last."""
        self.replaced = 0
        """How often `look` found it gone."""
        _all.add(self)

    def _open(self) -> sqlite3.Connection:
        self._make_file()
        opened = sqlite3.connect(
            self.path,
            timeout=self._busy_seconds,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
        try:
            # Only an empty file takes this: the room of what is deleted can be given back (disk.py).
            opened.execute("PRAGMA auto_vacuum = INCREMENTAL")
            opened.execute("PRAGMA journal_mode = WAL")
            opened.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
            opened.execute("PRAGMA foreign_keys = ON")
            # Checkpoints wait for the disk: the background does them, not the workflow's thread.
            opened.execute("PRAGMA wal_autocheckpoint = 0")
            prepare(opened)
        except BaseException:  # nobody else could close it
            opened.close()
            raise
        return opened

    def _make_file(self) -> None:
        """Inputs and outputs are nobody else's, wherever the file lies."""
        if str(self.path) == IN_MEMORY or self.path.exists():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    def _mine(self) -> sqlite3.Connection:
        if self._opened is None:
            opened = self._open()
            # Nobody has to close a log; from Python 3.13 on sqlite3 complains of connections left open.
            self._left_open = weakref.finalize(self, opened.close)
            self._left_open.atexit = False
            self._opened = opened
            self.file = self._file_there()
        return self._opened

    def look(self) -> None:
        """Have its file opened anew when it was deleted, or another one stands in its place.

        SQLite would go on with the file that has no name any more, and what it takes would be gone.
        """
        if self.is_in_use_here or self.file is None or self._file_there() == self.file:
            return
        with self._lock:
            if self._file_there() != self.file:
                self.replaced += 1
                self.file = None
                self._close()

    def _file_there(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:  # nobody can know
            if raised_by_handler(error):
                raise
            return self.file
        return found.st_dev, found.st_ino

    @contextlib.contextmanager
    def _alone(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one user at a time. Raises Reentered where waiting would be for ever."""
        self._refuse_reentrance()
        with self._lock:
            yield self._mine()

    @property
    def is_in_use_here(self) -> bool:
        """Whether this thread is in the middle of using it.

        The lock itself knows, so that there is no mark that an exception could leave behind.
        """
        return is_mine(self._lock)

    def _refuse_reentrance(self) -> None:
        if self.is_in_use_here:
            raise Reentered("the log is in use by this very thread")

    def write(
        self,
        work: Callable[[sqlite3.Connection], _T],
        committed: Callable[[], None] | None = None,
    ) -> _T:
        """What `work` gives, in a write transaction: committed at the end, rolled back on an error.

        `committed` is called after its commit and before the next transaction of this process; again
        when an exception came up in the middle of it. Raises sqlite3.Error.
        """
        self._refuse_reentrance()
        with self._lock:
            connection = self._mine()
            is_asked = False
            try:
                connection.execute("BEGIN IMMEDIATE")
                done = work(connection)
                is_asked = True
                connection.execute("COMMIT")
                if committed is not None:
                    committed()
            except BaseException as error:  # an interrupt, too, must not leave it open
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                elif is_asked and committed is not None and not isinstance(error, sqlite3.Error):
                    committed()
                raise
            return done

    def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """What `work` gives, with one consistent view of the file. Raises sqlite3.Error."""
        self._refuse_reentrance()
        with self._lock:
            connection = self._mine()
            try:
                connection.execute("BEGIN")
                return work(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction of who is not the workflow: committed at the end, rolled back on an error.

        While another process writes it waits as long as `write`, but without keeping the connection: the
        workflow's thread would wait for it, and then once more for the file. Raises sqlite3.Error.
        """
        until = time.monotonic() + self._busy_seconds
        while True:
            with self._alone() as connection:
                if self._begins_at_once(connection, may_fail=time.monotonic() >= until):
                    try:
                        yield connection
                        connection.execute("COMMIT")
                    except BaseException:  # an interrupt, too, must not leave it open
                        if connection.in_transaction:
                            connection.execute("ROLLBACK")
                        raise
                    return
            time.sleep(_AGAIN_SECONDS)

    def _begins_at_once(self, connection: sqlite3.Connection, *, may_fail: bool) -> bool:
        try:
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            if may_fail:
                raise
            return False
        finally:
            connection.execute(f"PRAGMA busy_timeout = {round(self._busy_seconds * 1000)}")
        return True

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view of the file. Raises sqlite3.Error."""
        with self._alone() as connection:
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def checkpoint(self, *, truncate: bool = False) -> None:
        """Move what was committed into the main file, as far as nobody else is in the way.

        `truncate` also empties the write-ahead log, for which writers have to wait a moment.
        """
        with self._alone() as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            if truncate:
                # While it waits for readers, writers wait for it.
                connection.execute("PRAGMA busy_timeout = 100")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.execute(f"PRAGMA busy_timeout = {round(self._busy_seconds * 1000)}")

    def close(self) -> None:
        """Close it until it is used again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            self._left_open.detach()
            opened.close()

    def before_fork(self) -> bool:
        """Whether it is closed. Whoever uses it may wait for what the forking thread holds: then not."""
        if not self._lock.acquire(timeout=_FORK_SECONDS):
            return False
        with contextlib.suppress(sqlite3.Error):
            self._close()
        return True

    def after_fork_in_parent(self) -> None:
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """It may be open still: servers that fork in C don't call what is to be done before.

        It is kept, never used and never closed: closing would give up the parent's locks.
        """
        self._lock = threading.RLock()
        if self._opened is not None:
            self._left_open.detach()
            _inherited.append(self._opened)
            self._opened = None


def is_mine(lock: threading.RLock) -> bool:
    """Whether this thread holds the lock."""
    return bool(lock._is_owned())  # type: ignore[attr-defined]


_all: weakref.WeakSet[Connection] = weakref.WeakSet()
_closed: list[Connection] = []
_inherited: list[sqlite3.Connection] = []


def _before_fork() -> None:
    _closed[:] = [connection for connection in [*_all] if connection.before_fork()]


def _after_fork_in_parent() -> None:
    for connection in _closed:
        connection.after_fork_in_parent()
    _closed.clear()


def _after_fork_in_child() -> None:
    for connection in [*_all]:
        connection.after_fork_in_child()
    _closed.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
