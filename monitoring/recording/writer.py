"""Single posts share commits: one thread of a process stores what has gathered while it last wrote.

A caller hands its record over and waits until the commit that holds it. `settings.INGEST_WRITER`
"inline" stores in the caller's own transaction instead (tests, commands).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from monitoring.recording.record import ExecutionRecord, Result
from monitoring.recording.store import CHUNK, record_executions

logger = logging.getLogger(__name__)

WAIT_SECONDS = 10.0
RETRY_AFTER_SECONDS = 2
_DATABASE_AWAY = "The database can't be reached."
_NOT_STORED = "The execution could not be stored; the fault is ours and was logged."


class Overloaded(Exception):
    """The record is not known to be stored: repeat later (503)."""


class _Waiting:
    """One caller's record and, once it is stored, its result."""

    __slots__ = ("done", "error", "given_up", "record", "result")

    def __init__(self, record: ExecutionRecord) -> None:
        self.record = record
        self.result: Result | None = None
        self.error: Exception | None = None
        self.given_up = False
        # A raw lock is the cheapest thing a thread can wait on: released once, by the writer.
        self.done = threading.Lock()
        self.done.acquire()


class Writer:
    """What waits, and the thread that stores it chunk by chunk.

    Callers wait for their answer, so there are never more records here than threads in this process.
    """

    def __init__(self) -> None:
        self._queue: deque[_Waiting] = deque()
        self._filled = threading.Condition()
        self._thread: threading.Thread | None = None

    def record(self, record: ExecutionRecord) -> Result:
        """Store one record durably. Raises Overloaded when that fails or takes too long."""
        waiting = _Waiting(record)
        with self._filled:
            self._queue.append(waiting)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
                self._thread.start()
            self._filled.notify()
        if not waiting.done.acquire(timeout=WAIT_SECONDS):
            waiting.given_up = True
            raise Overloaded("Storing took too long; the execution may or may not be stored.")
        if waiting.error is not None:
            reason = _DATABASE_AWAY if _is_away(waiting.error) else _NOT_STORED
            raise Overloaded(reason) from waiting.error
        if waiting.result is None:
            raise Overloaded("The writer ended without an answer.")
        return waiting.result

    def _run(self) -> None:
        while True:
            with self._filled:
                while not self._queue:
                    self._filled.wait()
                size = min(len(self._queue), CHUNK)
                batch = [self._queue.popleft() for _ in range(size)]
            # Whoever gave up was told 503 and repeats: storing it now would only delay the others.
            self._store([waiting for waiting in batch if not waiting.given_up])

    def _store(self, batch: list[_Waiting]) -> None:
        try:
            results = record_executions([waiting.record for waiting in batch])
        except Exception as error:  # whatever it is, every caller must be answered
            if _is_away(error):
                logger.warning("Storing %d executions failed: %s", len(batch), error)
            else:
                logger.exception("Storing %d executions failed", len(batch))
            for waiting in batch:
                waiting.error = error
            connection.close()
            time.sleep(0.05)
        else:
            for waiting, result in zip(batch, results, strict=True):
                waiting.result = result
        for waiting in batch:
            waiting.done.release()


def _is_away(error: Exception) -> bool:
    """Whether it is the database, not what was to be stored."""
    return isinstance(error, OperationalError | InterfaceError)


_writer = Writer()


def _after_fork() -> None:
    """A child process has the queue's memory but not the thread: begin anew."""
    global _writer
    _writer = Writer()


os.register_at_fork(after_in_child=_after_fork)


def record(execution: ExecutionRecord) -> Result:
    """Store one record durably and say what became of it. Raises Overloaded (repeat later)."""
    if settings.INGEST_WRITER == "inline":
        try:
            return record_executions([execution])[0]
        except (OperationalError, InterfaceError) as error:
            logger.warning("Storing an execution failed: %s", error)
            raise Overloaded(_DATABASE_AWAY) from error
    return _writer.record(execution)
