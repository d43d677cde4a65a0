"""A signal's handler or a finalizer may write while its own thread is in the middle of a write."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from flowwatch_client.background import Background
from flowwatch_client.log import connection as connection_module
from flowwatch_client.log import outbox
from flowwatch_client.log.log import Log
from flowwatch_client.log.writer import Writer
from flowwatch_client.rows import ExecutionRow
from flowwatch_client.settings import Settings


def _row(name: str) -> ExecutionRow:
    return ExecutionRow(name, "orders", "Orders", "success", "2026-11-21T20:00:00.000000+00:00")


def _accepted(log: Log) -> int:
    with log.connection.reading() as connection:
        return outbox.counts(connection).accepted


def test_what_is_written_in_the_middle_of_a_write_is_kept(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.db")
    writer = Writer(log)
    with log.connection.transaction():
        writer.write(_row("within"))
    assert _accepted(log) == 0
    writer.write(_row("after"))
    assert _accepted(log) == 2
    assert writer.lost == 0


def test_a_handler_never_waits_for_a_thread_that_waits_for_its_own(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.db")
    writer = Writer(log)
    with log.connection.transaction():
        writer.write(_row("kept"))
        keeper = threading.Thread(target=writer.flush, daemon=True)
        keeper.start()
        while writer._turn.acquire(blocking=False):  # until the keeper waits for the log
            writer._turn.release()
            time.sleep(0.001)
        writer.write(_row("within"))
    keeper.join(10)
    assert not keeper.is_alive()
    assert writer.flush()
    assert _accepted(log) == 2


@pytest.mark.parametrize("buffered", [False, True])
def test_a_handler_of_signals_may_write_at_any_moment(tmp_path: Path, buffered: bool) -> None:
    log = Log(tmp_path / "log.db")
    writer = Writer(log, buffered=buffered)
    background = Background(log, writer, Settings(path=log.path, exit_seconds=5))
    written = 0

    def write(*_: object) -> None:
        nonlocal written
        written += 1
        writer.write(_row(f"e{written}"))
        background.wake()

    before = signal.signal(signal.SIGALRM, write)
    try:
        for _ in range(2_000):
            # Once each: with handlers that interrupt each other a slow machine never comes to an end.
            signal.setitimer(signal.ITIMER_REAL, 0.0002)
            write()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    background.end()
    assert writer.flush()
    assert writer.lost == 0
    assert _accepted(log) == written > 2_000


def test_a_finalizer_may_write_at_any_moment(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.db")
    writer = Writer(log)
    written = 0

    class Loud:
        """Part of a cycle, so that the collector ends it, whenever it likes."""

        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            nonlocal written
            written += 1
            writer.write(_row(f"loud {written}"))

    before = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for number in range(500):
            Loud()
            writer.write(_row(f"e{number}"))
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert writer.flush()
    assert _accepted(log) == 500 + written
    assert written == 500


def test_a_fork_does_not_wait_for_ever_for_a_log_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who uses it may wait for what the forking thread holds. The child opens the log anew."""
    monkeypatch.setattr(connection_module, "_FORK_SECONDS", 0.05)
    log = Log(tmp_path / "log.db")
    log.write([_row("before")])
    begun, over = threading.Event(), threading.Event()

    def use() -> None:
        with log.connection.reading():
            begun.set()
            over.wait(10)

    thread = threading.Thread(target=use)
    thread.start()
    assert begun.wait(10)
    child = os.fork()
    if not child:
        log.write([_row("child")])
        os._exit(0)
    over.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    log.write([_row("after")])
    assert _accepted(log) == 3
