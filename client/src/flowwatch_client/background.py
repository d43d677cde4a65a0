"""What goes on beside the workflow: commits, upkeep of the file, sending, signs of life.

Two daemon threads, so that a server that hangs delays no commit: the keeper (flushes buffered rows,
checkpoints, keeps the file bounded) and, when there is a server, the sender. They start with the first
write, again in a forked child, and end with the process: `atexit` gives them `settings.exit_seconds`.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import queue
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Callable

from flowwatch_client.delivery.heartbeats import Heartbeats
from flowwatch_client.delivery.http import Server
from flowwatch_client.delivery.sender import Sender
from flowwatch_client.log import disk, outbox
from flowwatch_client.log.connection import Connection
from flowwatch_client.log.log import Log
from flowwatch_client.log.schema import NewerFile
from flowwatch_client.log.writer import FLUSH_SECONDS, Writer
from flowwatch_client.saying import say
from flowwatch_client.settings import Settings
from flowwatch_client.signals import raised_by_handler
from flowwatch_client.version import AGENT

SEND_SECONDS = 0.5
"""What is written within this time goes together."""
LOOK_SECONDS = 10.0
"""How often to look for what other processes left behind."""
CHECKPOINT_BYTES = 4 * 1024 * 1024
UPKEEP_SECONDS = 2.0
TRUNCATE_BYTES = 64 * 1024 * 1024
_POLL_SECONDS = 0.02
_LEAST_KEEPER_SECONDS = 1.0
"""It waits for no server; in C++ code (re2) when the interpreter ends it would abort."""


class _Loop:
    """A daemon thread that works when woken, or when so many seconds have passed as `work` said.

    `work` is called at most every `gap` seconds, and once more at the end. The bell is a SimpleQueue
    because a signal's handler may ring it in the middle of a ring (an Event would wait for itself).
    """

    def __init__(self, name: str, work: Callable[[], float], *, gap: float) -> None:
        self._name = name
        self._work = work
        self._gap = gap
        self._bell: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._has_rung = False
        self._ending = False
        self._thread: threading.Thread | None = None

    def start(self) -> bool:
        """Whether it runs: an interpreter that is about to end starts no thread."""
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        return True

    def wake(self) -> None:
        if not self._has_rung:
            self._has_rung = True
            self._bell.put(False)

    def hurry(self) -> None:
        """Work now, without the gap."""
        self._bell.put(True)

    def end(self) -> None:
        """Work once more and end."""
        self._ending = True
        self.hurry()

    def join(self, seconds: float) -> None:
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        idle = self._gap
        while True:
            if not self._ending:
                self._wait(idle)
            self._has_rung = False
            is_last = self._ending
            idle = self._safely()
            if is_last:
                return

    def _wait(self, idle: float) -> None:
        """Until the gap after the first ring, or after `idle` seconds, is over, or somebody hurries."""
        try:
            hurried = self._bell.get(timeout=idle)
            until = time.monotonic() + self._gap
            while not hurried:
                hurried = self._bell.get(timeout=max(until - time.monotonic(), 0.0))
        except queue.Empty:
            return

    def _safely(self) -> float:
        try:
            return self._work()
        except BaseException:  # a thread that ends would leave everything waiting
            told = "The background of flowwatch_client met an error of its own."
            say(logging.ERROR, told, exc_info=True)
            return LOOK_SECONDS


class Background:
    """Everything beside the workflow for one log file. No method raises."""

    def __init__(self, log: Log, writer: Writer, settings: Settings) -> None:
        self._log = log
        self._writer = writer
        self._settings = settings
        self.tick: Callable[[], float | None] | None = None
        """What is to be done now and then while executions run; says when again (seconds)."""
        self._own = Connection(log.path, durable=settings.durable)
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        """The state of a process that has no threads yet."""
        self._starting = threading.RLock()
        self._started = False
        self._ended = False
        self._upkeep_at = 0.0
        self._exit_at: float | None = None
        self._hurries = 0
        self._keeper = _Loop("flowwatch-keeper", self._keep, gap=FLUSH_SECONDS)
        self._sender: Sender | None = None
        self._heartbeats: Heartbeats | None = None
        self._sending: _Loop | None = None
        if self._settings.sends:
            server = Server(self._settings.url or "", self._settings.token or "", AGENT)
            self._sender = Sender(server, self._own, self._log.connection)
            self._heartbeats = Heartbeats(server)
            self._sending = _Loop("flowwatch-sender", self._send, gap=SEND_SECONDS)

    # --- what the client calls ---------------------------------------------------------------------

    def wake(self) -> None:
        """Something was written. Cheap."""
        if not self._started:
            self._start()
        if self._ended:  # by an atexit function that was registered before ours
            self._writer.flush()
        self._keeper.wake()
        if self._sending is not None:
            self._sending.wake()

    def started(self, execution_id: str, heartbeat_seconds: float) -> None:
        """This process runs an execution that promised signs of life."""
        if self._heartbeats is not None:
            self._heartbeats.started(execution_id, heartbeat_seconds)

    def ended(self, execution_id: str) -> None:
        if self._heartbeats is not None:
            self._heartbeats.ended(execution_id)

    def flush(self, timeout: float) -> bool:
        """Commit everything, and send what waits now; whether that was done within `timeout` seconds.

        Without a server: whether everything is committed.
        """
        until = time.monotonic() + timeout
        committed = self._writer.flush()
        if self._writer.has_missed():
            committed = False
        if self._sending is None:
            return committed
        try:
            self._own.look()
            last = self._last_waiting()
            self._start()
            self._hurries += 1
            self._sending.hurry()
            while self._waits(last):
                if self._ended or time.monotonic() >= until:
                    return False
                time.sleep(_POLL_SECONDS)
        except Exception as error:  # no method raises
            if raised_by_handler(error):
                raise
            say(logging.WARNING, "The log %s can't be read: %s", self._log.path, error)
            return False
        return committed

    def end(self) -> None:
        """Commit everything, give sending `settings.exit_seconds`, and end the threads."""
        if not self._started:
            return
        if self._ended:
            self._writer.flush()
            self._writer.say_lost()
            return
        until = time.monotonic() + self._settings.exit_seconds
        self._exit_at = until
        self._writer.flush()
        self._ended = True
        loops = [self._keeper] if self._sending is None else [self._sending, self._keeper]
        for loop in loops:
            loop.end()
        if self._sending is not None:
            self._sending.join(max(until - time.monotonic(), 0.0))
        if self._sender is not None:
            # A thread that writes to stderr while the interpreter ends makes it abort.
            self._sender.hush()
        self._keeper.join(max(until - time.monotonic(), _LEAST_KEEPER_SECONDS))
        self._writer.say_lost()

    def close(self) -> None:
        """End, and close the file until somebody writes to it again."""
        self.end()
        for connection in (self._own, self._log.connection):
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _start(self) -> None:
        with self._starting:
            if self._started:
                return
            self._started = True
            running = self._keeper.start()
            if self._sending is not None:
                running = self._sending.start() and running
            self._ended = not running
            _end_with_child(self.end)

    # --- the keeper --------------------------------------------------------------------------------

    def _keep(self) -> float:
        again = self.tick() if self.tick is not None else None
        whole = self._writer.flush()
        try:
            self._look_after_file()
        except _TROUBLE as error:
            say(logging.DEBUG, "No upkeep of %s: %s", self._log.path, error)
        if not whole:
            return FLUSH_SECONDS
        return LOOK_SECONDS if again is None else again

    def _look_after_file(self) -> None:
        """Readers and the workflow's writes go on meanwhile, but for a log that grew very long."""
        if time.monotonic() < self._upkeep_at:
            return
        self._own.look()
        size = self._log.path.with_name(f"{self._log.path.name}-wal").stat().st_size
        if size >= CHECKPOINT_BYTES:
            self._own.checkpoint(truncate=size >= TRUNCATE_BYTES)
        disk.keep_bounded(self._log, self._settings.max_log_bytes)
        self._upkeep_at = time.monotonic() + UPKEEP_SECONDS

    # --- the sender --------------------------------------------------------------------------------

    def _send(self) -> float:
        assert self._sender is not None
        assert self._heartbeats is not None
        if self._exit_at is None:
            self._heartbeats.send_due()
        self._own.look()
        hurried, self._hurries = self._hurries > 0 or self._exit_at is not None, 0
        pause = self._sender.pause_left()
        if pause == 0 or (hurried and self._sender.may_hurry()):
            done = self._sender.send_waiting(self._may_go_on)
            while self._exit_at is not None and self._sender.lacks_turn and self._may_go_on():
                time.sleep(_POLL_SECONDS)
                done = self._sender.send_waiting(self._may_go_on)
            pause = self._sender.pause_left()
            if not done and pause == 0:  # signs of life go between the batches of a long backlog
                return 0.0
        due = self._heartbeats.due_in()
        return min(pause or LOOK_SECONDS, LOOK_SECONDS if due is None else due)

    def _may_go_on(self) -> bool:
        if self._exit_at is not None:
            return time.monotonic() < self._exit_at
        return self._heartbeats is None or self._heartbeats.due_in() != 0.0

    def _last_waiting(self) -> int:
        return self._own.read(outbox.last_waiting)

    def _waits(self, last: int) -> bool:
        """Whether a record up to this one waits."""
        first = self._own.read(lambda connection: outbox.waiting(connection, after=0, most=1))
        return bool(first) and first[0].seq <= last

    def after_fork(self) -> None:
        """In the child: no thread runs, and the parent's executions are the parent's."""
        self._writer.after_fork()
        self._begin()


_TROUBLE = (sqlite3.Error, NewerFile, OSError)
_all: weakref.WeakSet[Background] = weakref.WeakSet()


def _end_with_child(end: Callable[[], None]) -> None:
    """A child of multiprocessing ends without the functions of atexit (but for 3.13, when it forks)."""
    if "multiprocessing.util" in sys.modules:
        from multiprocessing import process, util

        if process.parent_process() is not None:
            util.Finalize(None, end, exitpriority=0)


def _after_fork() -> None:
    for background in [*_all]:
        background.after_fork()


def _at_exit() -> None:
    with contextlib.suppress(KeyboardInterrupt):  # somebody who does not want to wait
        for background in [*_all]:
            background.end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
